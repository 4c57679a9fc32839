"""`hookd` itself: the group of all commands; those for a server, which need `units`, are imported when one is meant."""

from pathlib import Path

import click

from hookd import __version__
from hookd.cli import deploy, freeze, history, programs, status


class _Commands(click.Group):
    """So neither the receiver nor a worker, which are commands too, holds any code for root."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._add_server_commands()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._add_server_commands()
        return super().get_command(ctx, cmd_name)

    def _add_server_commands(self) -> None:
        from units.cli import adopt, apps, doctor, edit, setup

        apps.app_group.add_command(edit.edit_app)
        apps.app_group.add_command(adopt.adopt_app)
        for command in (*setup.COMMANDS, *doctor.COMMANDS, apps.app_group):
            self.add_command(command)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--config", "path", type=click.Path(path_type=Path), help="hookd.toml; default: $HOOKD_CONFIG, /etc/hookd."
)
@click.pass_context
def main(context: click.Context, path: Path | None) -> None:
    """A git push becomes a running release on a plain Linux server."""
    context.obj = path


for command in (
    *deploy.COMMANDS,
    *freeze.COMMANDS,
    *status.COMMANDS,
    *history.COMMANDS,
    *programs.COMMANDS,
):
    main.add_command(command)
