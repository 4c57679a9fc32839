"""Freezes: an app that is frozen is well, and told of; unless it seems to be forgotten, or nobody can read why."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from hookd import freezes
from hookd.model.app import App
from units.doctor.context import HostContext
from units.doctor.finding import Finding, ok, warning
from units.system import disk

_LONG_FREEZE: Final = timedelta(days=7)
_READABLE: Final = 0o004


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Look at an app's freeze, if there is one."""
    directory, mend = subject.config.frozen, freezes.thaw_command(subject.config.frozen, app.name)
    found = disk.status(directory / app.name)
    if found is None:
        return
    if not found.st_mode & _READABLE:
        yield warning(f"{directory / app.name} cannot be read by all: the app counts as frozen", mend)
        return
    try:
        freeze = freezes.read_freeze(directory, app.name)
    except (OSError, ValueError):
        yield warning(f"{directory / app.name} is no freeze of hookd's: the app counts as frozen", mend)
        return
    if freeze is None or not freeze.is_in_force(subject.now):
        return
    if subject.now - freeze.since > _LONG_FREEZE:
        yield warning(f"{freeze}; that is {(subject.now - freeze.since).days} days ago, and nothing is deployed", mend)
    elif freeze.until and not app.reconcile.every:
        yield warning(f"{freeze}; nobody looks when it ends, since reconcile.every is 0: a push has to come", mend)
    else:
        yield ok(str(freeze))
