"""The `hookd` command group. Commands for a server are imported from `units` when they are needed."""

from pathlib import Path
from typing import Final

import click

from hookd import __version__
from hookd.cli import deploy, freeze, history, programs, status

SECTIONS: Final = {
    "Deploy": ("deploy", "update", "rollback", "unpin", "freeze", "thaw"),
    "Look": ("status", "logs", "why", "doctor", "permissions"),
    "Apps": ("app", "start", "stop", "restart", "secret"),
    "Server": ("setup", "uninstall"),
    "Programs": ("serve", "worker", "reconcile", "redis", "send", "demo"),
}


class _Commands(click.Group):
    """Imports `units` lazily: the receiver and the worker are commands too, and hold no code for root."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._add_server_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._add_server_commands()
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections."""
        self._add_server_commands()
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(formatter.width)) for name in names])

    def _add_server_commands(self) -> None:
        from units.cli import adopt, apps, doctor, edit, setup

        apps.app_group.add_command(edit.edit_app)
        apps.app_group.add_command(adopt.adopt_app)
        for command in (*setup.COMMANDS, *doctor.COMMANDS, apps.app_group):
            self.add_command(command)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: hookd deploy shop. Help for a command: hookd deploy --help",
)
@click.version_option(__version__)
@click.option("--config", "path", type=click.Path(path_type=Path), help="Default: $HOOKD_CONFIG, else /etc/hookd.")
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """Turn git pushes into running releases on a plain Linux server."""
    context.obj = path


for command in (*deploy.COMMANDS, *freeze.COMMANDS, *status.COMMANDS, *history.COMMANDS, *programs.COMMANDS):
    main.add_command(command)
