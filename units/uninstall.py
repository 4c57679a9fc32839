"""Takes away exactly what hookd brought: apps, units, files, users; what is not hookd's own stays and is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from units import layout
from units.app_plan import nginx_news, units_of
from units.apps import Server
from units.install import Installer
from units.manifest import HOST, Brought, Manifest
from units.plan import Absent, Run, Step
from units.run import run, succeeds
from units.setup import guard_news

Say = Callable[[str], None]
_REMOVERS: Final = {"member": ("gpasswd", "--delete"), "user": ("userdel",), "group": ("groupdel",)}
_UNITS: Final = (
    "hookd-doctor.timer",
    layout.RECONCILE_TIMER,
    layout.RECONCILE,
    "hookd.socket",
    "hookd.service",
    *(layout.worker_unit(instance) for instance in layout.INSTANCES),
    "hookd-redis.service",
)
# They go last, and all at once: until then the same command can be typed again.
_LAST: Final = (layout.COMMAND, layout.CODE)


def uninstall(server: Server, say: Say, *, dry_run: bool) -> None:
    """Stop and remove everything; raises CommandFailed, after which the same command goes on."""
    manifest = server.manifest
    scopes = list(dict.fromkeys(thing.scope for thing in reversed(manifest.brought)))
    plan = _plan(server, manifest)
    if dry_run:
        for step in plan:
            say(f"+ {step}")
        for thing in reversed(manifest.brought):
            say(f"+ remove     {thing.name}  ({thing.kind})")
        return
    installer = Installer(manifest, HOST, say)
    installer.apply(plan)
    stays = [path for scope in scopes for path in Installer(manifest, scope, say).remove_directories(but=_LAST)]
    _remove_accounts(manifest, say)
    leftovers = (layout.SETUP_STATE, layout.SOCKETS, layout.RECEIVER_SOCKET.parent)
    run(("rm", "-rf", "--one-file-system", "--", *_last(manifest), *map(str, leftovers)))
    say("hookd is gone from this host")
    for path in stays:
        say(f"  stays: {path}")


def _plan(server: Server, manifest: Manifest) -> tuple[Step, ...]:
    units = [unit for app in server.catalogue.apps for unit in units_of(app)]
    things = [thing for thing in reversed(manifest.brought) if thing.kind in ("file", "link")]
    files = [thing for thing in things if not _is_last(thing)]
    stop = [unit for unit in (*units, *_UNITS) if succeeds(("systemctl", "cat", "--", unit))]
    steps: list[Step] = []
    if stop:
        steps.append(Run(("systemctl", "disable", "--now", "--quiet", *stop), "everything stops"))
    if server.host.loads_apparmor and any(thing.name == str(layout.APPARMOR) for thing in files):
        steps.append(Run(("apparmor_parser", "--remove", str(layout.APPARMOR)), "AppArmor forgets the receiver"))
    steps += [Absent(Path(thing.name)) for thing in files]
    steps.append(Run(("systemctl", "daemon-reload"), "systemd forgets the units"))
    steps.append(Run(("systemctl", "reset-failed"), "and that any of them failed"))
    if any(thing.name.startswith(str(layout.NGINX)) for thing in files):
        steps += nginx_news()
    steps += guard_news(server.host)
    return tuple(steps)


def _last(manifest: Manifest) -> list[str]:
    return [thing.name for thing in manifest.of(HOST, "file", "link", "directory") if _is_last(thing)]


def _is_last(thing: Brought) -> bool:
    return any(Path(thing.name).is_relative_to(path) for path in _LAST)


def _remove_accounts(manifest: Manifest, say: Say) -> None:
    """Users before groups: a group cannot go while it is somebody's first, and may go with him."""
    things = list(reversed(manifest.brought))
    for kind, remover in _REMOVERS.items():
        for thing in [one for one in things if one.kind == kind and _is_there(one)]:
            argv = (*remover, *thing.name.split(" "))
            if not succeeds(argv):
                say(f"  not done: {' '.join(argv)}")


def _is_there(thing: Brought) -> bool:
    database = "group" if thing.kind == "group" else "passwd"
    return succeeds(("getent", database, thing.name.split(" ")[0]))
