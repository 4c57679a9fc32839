"""What an app claims on the host: units, sockets, users, places. None of them is hookd's, the system's or another's."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.contract.catalogue import App
from units import layout, places_of
from units.app_plan import units_of
from units.errors import Refused

_COLOURS: Final = ("blue", "green")
# Units that come for a while, when a project is taken over.
_PASSING: Final = ("bridge", "check")
_OWN_USERS: Final = frozenset({"root", layout.WORKER, layout.RECEIVER, layout.REDIS})
_OWN_GROUPS: Final = frozenset(
    {"root", "sudo", "adm", "shadow", "disk", "docker", layout.QUEUE_GROUP, layout.RECEIVER, layout.REDIS}
)
# Whatever is written, owned or read for an app as root or as the worker lies in none of these, and is none of them.
_SYSTEM: Final = (
    *map(Path, "/bin /boot /dev /etc /lib /lib32 /lib64 /proc /root /run /sbin /sys /usr /var/lib/dpkg".split()),
    *(layout.CODE, layout.STATE, layout.LOGS, layout.REDIS_STATE, layout.SETUP_STATE),
)


def reasons(app: App, others: Iterable[App], protocols: Iterable[str]) -> Iterator[str]:
    """Say everything that an app claims and may not have; `protocols` are those that git may use on this host."""
    if app.name == "hookd" or app.name.startswith("hookd-"):
        yield f"{app.name}: hookd's own units are called so; choose another name"
    yield from _transport(app, tuple(protocols))
    yield from _users(app)
    yield from _places(app)
    for other in others:
        yield from _shared(app, other)


def _transport(app: App, protocols: tuple[str, ...]) -> Iterator[str]:
    scheme, separator, _ = app.repository.partition("://")
    used = scheme if separator else "ssh"
    if used not in protocols:
        allowed = f"{', '.join(protocols)} (worker.git_protocols in {layout.CONFIG})"
        yield f"repository: git may not use {used} here, only {allowed}"


def _users(app: App) -> Iterator[str]:
    if app.ownership.user in _OWN_USERS:
        yield f"ownership.user: an app does not run as {app.ownership.user}"
    if app.ownership.group in _OWN_GROUPS:
        yield f"ownership.group: {app.ownership.group} is not for apps"


def _places(app: App) -> Iterator[str]:
    wanted = {"root": app.root, "shared.root": app.shared_root, "shared.data": app.data_root}
    for key, path in dict.fromkeys(wanted.items()):
        if _is_systems(path):
            yield f"{key}: {path} belongs to the system"
    if app.deploy_key and not app.deploy_key.is_relative_to(layout.KEYS) and _is_systems(app.deploy_key):
        yield f"deploy_key: {app.deploy_key} belongs to the system; hookd's keys stand in {layout.KEYS}"
    variables = app.service.environment_file
    if app.service.units == "hookd" and variables and not variables.is_relative_to(layout.ETC):
        yield (
            f"service.environment_file: systemd reads {variables} as root, so it must stand where only root writes, "
            f"such as {layout.app_environment(app.name)}"
        )


def _is_systems(path: Path) -> bool:
    return path == Path("/") or any(path.is_relative_to(place) or place.is_relative_to(path) for place in _SYSTEM)


def _shared(app: App, other: App) -> Iterator[str]:
    for unit in sorted(_units(app) & _units(other)):
        yield f"{app.name} and {other.name}: both would have the unit {unit}; choose another name"
    for place in sorted(_sockets(app) & _sockets(other)):
        yield f"{app.name} and {other.name}: both would listen on {place}"


def _units(app: App) -> set[str]:
    """Every unit that is or will be this app's."""
    name = app.service_name
    ends = (*_COLOURS, *_PASSING)
    return {*units_of(app), f"{name}.service", f"{name}.socket", *(f"{name}-{end}.service" for end in ends)}


def _sockets(app: App) -> set[str]:
    """Where an app's units listen, as far as hookd makes them."""
    if app.service.units == "existing":
        return {app.service.listen} if app.service.listen else set()
    found = {places_of.listen(app)}
    if app.service.handover == "blue-green":
        with suppress(Refused):  # What is wrong with it is said where it is rendered.
            found |= {f"unix:{places_of.health_socket(app, colour)}" for colour in _COLOURS}
    return found
