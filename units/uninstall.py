"""Takes away exactly what hookd brought: apps, units, files, users; what is not hookd's own stays and is named."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.ids import is_app
from units.adopt import state
from units.apps.manage import Server
from units.apps.plan import VARIABLES
from units.apps.services import stop_steps
from units.host.plan import guard_reload_steps
from units.plan.apply import Echo, Installer
from units.plan.manifest import HOST, Manifest, Resource
from units.plan.steps import DAEMON_RELOAD, Absent, Run, Step, nginx_reload_steps
from units.system import disk, layout
from units.system.run import run, succeeds

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
_LEFTOVERS: Final = (layout.SETUP_STATE, layout.SOCKETS, layout.RECEIVER_SOCKET.parent)


def uninstall(server: Server, apps: Iterable[App], variables: tuple[Path, ...], echo: Echo, *, dry_run: bool) -> None:
    """Stop `apps` and remove everything but `variables`; raises CommandFailed, after which the same command goes on."""
    manifest = server.manifest
    installers = [Installer(manifest, scope, echo) for scope in _scopes(manifest)]
    plan = _plan(server, apps, variables)
    if dry_run:
        for line in _preview(manifest, installers, plan, variables):
            echo(line)
        return
    Installer(manifest, HOST, echo).apply(plan)
    restrict_to_root(variables)
    stays = [path for one in installers for path in one.remove_directories(but=(*_LAST, *variables))]
    _remove_accounts(manifest, echo)
    run(("rm", "-rf", "--one-file-system", "--", *_last_paths(manifest), *map(str, _LEFTOVERS)))
    for path in (layout.ENVIRONMENTS, layout.ETC):  # They were there already, when an earlier hookd left variables.
        disk.remove_empty(path)
    echo("hookd is gone from this host")
    for path in (*stays, *variables):
        echo(f"  stays: {path}")


def _scopes(manifest: Manifest) -> list[str]:
    return list(dict.fromkeys(thing.scope for thing in reversed(manifest.resources)))


def _preview(
    manifest: Manifest, installers: list[Installer], plan: tuple[Step, ...], variables: tuple[Path, ...]
) -> Iterator[str]:
    """What would be done, and what stays."""
    files = [step.path for step in plan if isinstance(step, Absent)]
    yield from (f"+ {step}" for step in plan)
    for one in installers:
        yield from (
            f"+ remove     {directory}" for directory in one.removable_directories(files, but=(*_LAST, *variables))
        )
    yield from (f"+ remove     {thing.name}  ({thing.kind})" for thing in _accounts(manifest))
    yield from (f"+ remove     {path}" for path in (*_last_paths(manifest), *map(str, _LEFTOVERS)))
    stays = (path for one in installers for path in one.kept_directories(files))
    yield from (f"  stays: {path}" for path in (*stays, *variables))


def _plan(server: Server, apps: Iterable[App], variables: tuple[Path, ...]) -> tuple[Step, ...]:
    manifest = server.manifest
    things = [thing for thing in reversed(manifest.resources) if thing.kind in ("file", "link")]
    files = [thing for thing in things if not _is_last(thing) and Path(thing.name) not in variables]
    own = [unit for unit in _UNITS if succeeds(("systemctl", "cat", "--", unit))]
    steps: list[Step] = [*stop_steps(apps, manifest)]
    if own:
        steps.append(Run(("systemctl", "disable", "--now", "--quiet", *own), "hookd itself stops"))
    if server.host.loads_apparmor and any(thing.name == str(layout.APPARMOR) for thing in files):
        steps.append(Run(("apparmor_parser", "--remove", str(layout.APPARMOR)), "AppArmor forgets the receiver"))
    steps += [Absent(Path(thing.name)) for thing in files]
    steps.append(Run(DAEMON_RELOAD, "systemd forgets the units"))
    steps.append(Run(("systemctl", "reset-failed"), "and that any of them failed"))
    if any(thing.name.startswith(str(layout.NGINX)) for thing in files):
        steps += nginx_reload_steps()
    steps += guard_reload_steps(server.host)
    return tuple(steps)


def _last_paths(manifest: Manifest) -> list[str]:
    return [thing.name for thing in manifest.of(HOST, "file", "link", "directory") if _is_last(thing)]


def _is_last(thing: Resource) -> bool:
    return any(Path(thing.name).is_relative_to(path) for path in _LAST)


def _remove_accounts(manifest: Manifest, echo: Echo) -> None:
    """Users before groups: a group cannot go while it is somebody's first, and may go with him."""
    for thing in _accounts(manifest):
        argv = (*_REMOVERS[thing.kind], *thing.name.split(" "))
        if _exists(thing) and not succeeds(argv):
            echo(f"  not done: {' '.join(argv)}")


def _accounts(manifest: Manifest) -> list[Resource]:
    things = list(reversed(manifest.resources))
    return [thing for kind in _REMOVERS for thing in things if thing.kind == kind and _exists(thing)]


def _exists(thing: Resource) -> bool:
    database = "group" if thing.kind == "group" else "passwd"
    return succeeds(("getent", database, thing.name.split(" ")[0]))


def user_variables(app: str) -> tuple[Path, ...]:
    """The app's variables, when a person has written any; not as hookd made the file, empty or from an old unit's."""
    path = layout.app_environment(app)
    adopted = state.load(app)
    made = {"", VARIABLES.format(name=app).strip(), adopted.environment.strip() if adopted else ""}
    return (path,) if _text(path) not in made else ()


def all_user_variables() -> tuple[Path, ...]:
    """Those of every app, and the worker's."""
    worker = (layout.WORKER_ENVIRONMENT,) if _text(layout.WORKER_ENVIRONMENT) else ()
    files = sorted(layout.ENVIRONMENTS.iterdir()) if layout.ENVIRONMENTS.is_dir() else []
    return (*(path for file in files if is_app(file.name) for path in user_variables(file.name)), *worker)


def restrict_to_root(files: tuple[Path, ...]) -> None:
    """Give them to root alone: the number of a group that goes is given to another one day."""
    for path in files:
        disk.write(path, disk.read(path) or b"", disk.SECRET)


def _text(path: Path) -> str:
    return (disk.read(path) or b"").decode("utf-8", "replace").strip()
