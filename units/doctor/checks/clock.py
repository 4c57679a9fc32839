"""The clock: set by the network, and never so far back that what hookd wrote lies in the future."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from units.doctor.context import HostContext
from units.doctor.finding import Finding, ok, unknown, warning
from units.system import disk
from units.system.run import CommandFailed, run

GOOD: Final = "nothing that hookd wrote lies in the future"
_SECONDS: Final = 5
_TOLERATED_SECONDS: Final = 60


def check(subject: HostContext) -> Iterator[Finding]:
    """Ask whether the clock is set, and look for files from the future."""
    yield from _check_synchronisation()
    for directory in (subject.path.parent, subject.settings.state / "journals"):
        yield from check_future_files(directory, subject.now)


def _check_synchronisation() -> Iterator[Finding]:
    try:
        answer = run(("timedatectl", "show", "--property=NTPSynchronized", "--value"), seconds=_SECONDS).strip()
    except CommandFailed as failed:
        yield unknown(f"timedatectl does not say whether the clock is set by the network: {failed.output}")
        return
    if answer == "yes":
        yield ok("the clock is set by the network")
    else:
        why = "the clock is not set by the network: times in logs are wrong, and certificates may seem expired"
        yield warning(why, "sudo timedatectl set-ntp true (package systemd-timesyncd)")


def check_future_files(directory: Path, now: datetime) -> Iterator[Finding]:
    """Name one file that was written later than now: the clock was set back, or was wrong before."""
    try:
        with disk.open_parent(directory) as descriptor, os.scandir(descriptor) as entries:
            found = [(entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in entries]
    except FileNotFoundError:
        return
    latest, name = max(found, default=(0.0, ""))
    if latest > now.timestamp() + _TOLERATED_SECONDS:
        when = f"{directory / name} was written {(latest - now.timestamp()) / 3600:.1f} h in the future"
        yield warning(f"{when}: the clock was set back", "timedatectl status")
