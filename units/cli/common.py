"""Shared parts of the server's commands: root, the lock of all changes, and the state of the host."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import click
from redis.exceptions import RedisError

from hookd.cli.common import Command, fail, open_store, print_line, sudo_command, typed_app
from hookd.cli.main import exit_status
from hookd.config import config_path, is_own, load
from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.deployment import RETRYABLE_ENDINGS, Trigger
from hookd.model.settings import Settings
from hookd.queue.deployments import Contention, DeploymentRequest
from units.apps.manage import Server
from units.changes.manifest import Manifest
from units.system import disk, layout
from units.system.disk import UnsafePath, inspect_command
from units.system.errors import HostError
from units.system.facts import missing_setup, read_host
from units.system.run import CommandFailed
from units.up.home import Home
from units.up.instead import command_instead

FAILED: Final = 1
dry_run_option = click.option("--dry-run", is_flag=True, help="Show every change and make none.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def requires_root(command: Command) -> Command:
    """Refuse other users, and turn expected errors into messages."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        refuse_own_app()
        if os.geteuid() != 0:
            fail("only root can do this", hint=sudo_command())
        _require_own_config()
        os.umask(0o022)
        try:
            return command(*arguments, **options)
        except HostError as error:
            fail(str(error), hint=error.hint or sudo_command())
        except CommandFailed as error:
            fail(f"a command failed: {error}", hint=sudo_command(), status=FAILED)
        except UnsafePath as error:
            fail(str(error), hint=inspect_command(error.path), status=FAILED)

    return guarded


def refuse_own_app() -> None:
    """End the command if it names an app of `hookd up`, because it needs systemd."""
    context = click.get_current_context()
    app = typed_app(context)
    path = config_path(context.find_root().obj, app=app)
    if app and is_own(path):
        words = context.command_path.split()[1:]
        fail("this command is for servers", hint=command_instead(Home(path.parent, path.parent.name), words))


def _require_own_config() -> None:
    """End the command if a person chose another configuration, because only this host's can be changed."""
    root = click.get_current_context().find_root()
    path = config_path(root.obj)
    if path != layout.CONFIG and not is_own(path):
        root.obj = layout.CONFIG  # For the hint.
        fail(f"this command uses {layout.CONFIG}, not {path}", hint=sudo_command())


@contextmanager
def host_lock(*, dry_run: bool = False) -> Iterator[Server]:
    """Hold the lock of all commands that change the host, and yield the host.

    A second command fails instead of waiting. A command that asks a question reads the host again with this, because
    another command may have changed it meanwhile. A dry run takes no lock.
    """
    if dry_run:
        yield load_server()
        return
    disk.make_directory(layout.SETUP_STATE, disk.CLOSED)
    with (layout.SETUP_STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError("another hookd command is changing this host") from None
        yield load_server()


def load_server() -> Server:
    """Read the host, which need not be set up yet. Raises ConfigError."""
    config = load(layout.CONFIG) if layout.CONFIG.exists() else None
    catalogue, settings = (config.catalogue, config.settings) if config else (Catalogue(), Settings())
    return Server(read_host(config), Manifest.load(layout.MANIFEST), catalogue, settings)


def require_setup() -> None:
    """Raise HostError before the first `hookd setup`."""
    if missing := missing_setup():
        raise missing


def retry_failed(app: App) -> bool:
    """Request a deployment if the last one of a head failed, because an edit may have mended that. Return True if so.

    A freeze, a pin and a quarantine of the commit hold it back as ever.
    """
    config = load(layout.CONFIG)
    try:
        store = open_store(config, reads=False)
        last = next(iter(store.history(app.name, 1)), None)
        if (
            last is None
            or last.status not in RETRYABLE_ENDINGS
            or last.pinned_commit
            or last.trigger is Trigger.ROLLBACK
        ):
            return False
        requested = store.request(DeploymentRequest(app.name, Trigger.UPDATE, app.job_seconds)).deployment
    except (RedisError, Contention):
        return False
    print_line(f"the last deployment failed, so it is tried again: {requested}")
    return True


def run_deploy(app: str, commit: str | None = None) -> int:
    """Run `hookd deploy` in this process and return its exit status."""
    pinned = ("--commit", commit) if commit else ()
    return exit_status("deploy", app, *pinned)
