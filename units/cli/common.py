"""What only root may do on a server: set-up, apps, secrets, services; the work itself is in `units`."""

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any, Final

import click

from hookd.cli.common import Command, report_errors, stop
from hookd.cli.safe_text import sanitize
from hookd.config import load
from hookd.model.app import Catalogue
from units.apps.manage import Server
from units.plan.manifest import Manifest
from units.system import disk, layout
from units.system.disk import UnsafePath
from units.system.errors import HostError
from units.system.facts import read_host
from units.system.run import CommandFailed

FAILED: Final = 1
dry_run = click.option("--dry-run", is_flag=True, help="Show every file, user and command first, and do nothing.")


def requires_root(command: Command) -> Command:
    """Refuse anybody else at once, and turn failures into sentences."""

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
        except BrokenPipeError:
            raise
        except (UnsafePath, OSError) as error:
            stop(str(error), status=FAILED)

    return report_errors(guarded)


@contextmanager
def host_lock(*, dry_run: bool = False) -> Iterator[Server]:
    """Hold the one lock of all commands that change the host, and yield the host as it is then.

    Whoever asks a person something looks again with this afterwards: another command may have changed the host
    meanwhile. A second one says so instead of waiting; a dry run changes nothing, and holds nothing.
    """
    with nullcontext() if dry_run else _locked():
        yield load_server()


@contextmanager
def _locked() -> Iterator[None]:
    disk.make_directory(layout.SETUP_STATE, disk.CLOSED)
    with (layout.SETUP_STATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError("another hookd command is changing this host", hint="wait for it to end") from None
        yield


def load_server() -> Server:
    """Look at this host, which need not be set up yet; raises ConfigError."""
    config = load(layout.CONFIG) if layout.CONFIG.exists() else None
    catalogue = config.catalogue if config else Catalogue()
    return Server(read_host(config), Manifest.load(layout.MANIFEST), catalogue)


def require_setup() -> None:
    """Raise HostError on a host that `hookd setup` has not seen."""
    if not layout.CONFIG.exists():
        hint = "sudo hookd setup --domain deploy.example.org (how your git host reaches this server)"
        raise HostError("hookd is not set up on this host", hint=hint)


def print_line(line: str) -> None:
    """Tell what is being done; names and messages of others in it do nothing to root's terminal."""
    click.echo(sanitize(line))
