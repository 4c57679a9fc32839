"""What only root may do on a server: set-up, apps, secrets, services; the work itself is in `units`."""

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import click

from hookd.cli.base import Command, in_words, stop
from hookd.contract.catalogue import App, Catalogue
from hookd.store.config import load
from units import disk, layout
from units.apps import Server
from units.disk import UnsafePath
from units.errors import HostError
from units.host import look
from units.manifest import Manifest
from units.run import CommandFailed

FAILED: Final = 1
dry_run = click.option("--dry-run", is_flag=True, help="Show every file, user and command first, and do nothing.")


def as_root(command: Command) -> Command:
    """Refuse anybody else at once, let one such command run at a time, and turn failures into sentences."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        if os.geteuid() != 0:
            stop("only root can do this", hint=shlex.join(["sudo", "hookd", *sys.argv[1:]]))
        os.umask(0o022)
        try:
            return command(*arguments, **options)
        except HostError as error:
            stop(str(error), hint=error.hint)
        except CommandFailed as error:
            again = shlex.join(["sudo", "hookd", *sys.argv[1:]])
            stop(
                f"a command failed: {error}", hint=f"mend it, then the same again (it goes on): {again}", status=FAILED
            )
        except (UnsafePath, OSError) as error:
            stop(str(error), status=FAILED)

    return in_words(guarded)


@contextmanager
def alone() -> Iterator[None]:
    """Hold the one lock of all commands that change the host; a second one says so instead of waiting."""
    disk.make_directory(layout.SETUP_STATE, disk.Owner(0, 0, 0o700))
    with (layout.SETUP_STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError("another hookd command is changing this host", hint="wait for it to end") from None
        yield


def server() -> Server:
    """Look at this host; raises ConfigError, and HostError when it was never set up."""
    config = load(layout.CONFIG) if layout.CONFIG.exists() else None
    catalogue = config.catalogue if config else Catalogue()
    return Server(look(config), Manifest.load(layout.MANIFEST), catalogue)


def known_app(host: Server, name: str) -> App:
    """Find an app of the catalogue; raises HostError."""
    app = host.catalogue.get(name)
    if app is None:
        known = ", ".join(one.name for one in host.catalogue.apps) or "none"
        raise HostError(f"there is no app {name!r} on this host; there are: {known}", hint="sudo hookd app list")
    return app


def say(line: str) -> None:
    """Tell what is being done."""
    click.echo(line)
