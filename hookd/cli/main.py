"""The `hookd` command. The module of a command is imported when the command is typed."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from hookd import __version__
from hookd.cli.common import INTERRUPTED, fail, fail_config, sudo_command
from hookd.config import ConfigError

_SIMILARITY: Final = 0.8
# The commands of each section, by their module. The function of a command has the command's name.
SECTIONS: Final[Mapping[str, Mapping[str, Iterable[str]]]] = {
    "Deploy": {"hookd.cli.deploy": ("deploy", "update", "rollback", "unpin"), "hookd.cli.freeze": ("freeze", "thaw")},
    "Inspect": {
        "hookd.cli.status": ("status", "logs"),
        "hookd.cli.history": ("why",),
        "units.cli.doctor": ("doctor", "permissions"),
    },
    "Apps": {
        "units.cli.app.commands": ("app",),
        "units.cli.run": ("run",),
        "units.cli.env": ("env",),
        "units.cli.setup": ("start", "stop", "restart", "secret"),
        "units.cli.restore": ("restore",),
    },
    "Server": {"units.cli.setup": ("setup", "certify", "uninstall")},
    "This machine": {"units.cli.up": ("up", "down")},
    "Programs": {
        "hookd.cli.programs": ("serve", "worker", "reconcile", "redis"),
        "hookd.cli.send": ("send",),
        "units.demo.story": ("demo",),
    },
}


class LazyGroup(click.Group):
    """Imports the module of a command when the command is typed. `modules` maps names of commands to modules."""

    def __init__(self, *arguments: Any, modules: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted((*self.commands, *self._modules))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if module := self._modules.get(cmd_name):
            command: click.Command = getattr(import_module(module), cmd_name)
            return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command. The error for an unknown one suggests a similar name of all modules."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            similar = get_close_matches(error.command_name, self.list_commands(ctx), n=1)
            raise click.NoSuchCommand(error.command_name, possibilities=similar, ctx=ctx) from None


class _SectionedGroup(LazyGroup):
    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse the options before the command, and turn usage errors into messages."""
        try:
            with _usage_messages():
                return super().make_context(*arguments, **options)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections."""
        for title, modules in SECTIONS.items():
            names = [name for several in modules.values() for name in several]
            commands = [(name, command) for name in names if (command := self.get_command(ctx, name))]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(formatter.width)) for name, command in commands])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and turn expected errors into messages."""
        try:
            with _usage_messages(ctx):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except ConfigError as error:
            fail_config(error)
        except BrokenPipeError:
            raise  # click ends silently.
        except OSError as error:
            if isinstance(error, PermissionError) and os.geteuid() != 0:
                fail("only root can do this", hint=sudo_command())
            fail(str(error), hint="hookd doctor", status=1)


@contextmanager
def _usage_messages(main_context: click.Context | None = None) -> Iterator[None]:
    """Turn click's usage errors into messages. A group without a command prints its help.

    Some errors of a command lack its context, so `main_context` names the command.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        text, command = _usage_text(error), main_context.invoked_subcommand if main_context else None
        path = error.ctx.command_path if error.ctx else " ".join(filter(None, ("hookd", command)))
        fail(text[:1].lower() + text[1:].rstrip("."), hint=f"{path} --help")


def _usage_text(error: click.UsageError) -> str:
    """Return the text of an error. Click suggests options that have little in common."""
    if isinstance(error, click.NoSuchOption):
        similar = get_close_matches(error.option_name, error.possibilities or (), cutoff=_SIMILARITY)
        return error.format_message() if similar else error.message
    return error.format_message()


@click.group(
    cls=_SectionedGroup,
    modules={name: module for modules in SECTIONS.values() for module, names in modules.items() for name in names},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: hookd deploy shop. Help for a command: hookd deploy --help",
)
@click.version_option(__version__)
@click.option(
    "--config",
    "path",
    type=click.Path(readable=False, path_type=Path),
    help="The configuration file. Default: $HOOKD_CONFIG, else /etc/hookd/hookd.toml.",
)
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """Turn git pushes into running releases on a plain Linux server."""
    context.obj = path
    context.color = False if os.environ.get("NO_COLOR") else None


def exit_status(*arguments: str) -> int:
    """Run a command of hookd in this process, and return its exit status."""
    try:
        main(list(arguments), prog_name="hookd")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
