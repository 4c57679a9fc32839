"""The changes that install one app: directories, files, units, and the commands that load them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookd.files.ownership.policies import GROUP_READABLE, OWNER_READABLE, PRIVATE, WORLD_READABLE, WRITABLE
from hookd.model.app import App
from hookd.model.tables.service import COLOURS
from hookd.model.units.phases import phases_of
from hookd.model.units.processes import all_processes, timer_units
from units.apps.accounts.users import account_changes
from units.apps.table.own_file import file_text
from units.changes.change import (
    DAEMON_RELOAD,
    RESTART_RECEIVER,
    Change,
    Changes,
    Directory,
    Existing,
    File,
    Link,
    Run,
    drop_in_directories,
    nginx_reload_commands,
)
from units.render.app import code_group
from units.system import layout

_HEADER: Final = "What hookd knows of {name}. To change it: sudo hookd app edit {name}"
VARIABLES: Final = """# Variables of {name}, one NAME=value per line, for its service and its release commands.
# After a change: sudo hookd restart {name}
"""
BUILD_VARIABLES: Final = """# Variables of {name}'s builds, one NAME=value per line. The next build reads them.
"""
_CODE_MODES: Final = {"group": GROUP_READABLE, "split": WORLD_READABLE, "acl": OWNER_READABLE}
_SHARED: Final = "# {name}'s own {file}, linked into every release.\n"


@dataclass(frozen=True)
class InitialContents:
    """Contents of an app's files at their creation: secret, variables, shared files."""

    secret: str
    environment: str | None = None
    shared: Mapping[str, str] | None = None


def app_toml(name: str, table: Mapping[str, Any]) -> str:
    """Return the text of an app's file on a server."""
    return file_text(_HEADER.format(name=name), table)


def app_changes(app: App, toml: str, initial: InitialContents, files: tuple[File | Link, ...]) -> Changes:
    """Build the changes that install an app. `files` are its units, sudoers, site and log rotation."""
    return (
        *account_changes(app),
        *_directories(app),
        *_initial_files(app, toml, initial),
        *drop_in_directories(files),
        *files,
        *_reload_commands(app),
    )


def _directories(app: App) -> list[Change]:
    group, modes = code_group(app) or layout.WORKER, _CODE_MODES[app.ownership.policy]
    shared = [app.shared_root] if app.shared.files or app.data_root == app.shared_root else []
    below = {parent for name in app.shared.files for parent in _parents(app.shared_root / name, app.shared_root)}
    # nginx sees by these if a release serves.
    places = [app.root, app.root / "releases"] if app.site.domain else [app.root]
    place_mode = modes.passable.directory if app.site.domain else modes.directory
    code = dict.fromkeys((*shared, *sorted(below)), modes.directory) | dict.fromkeys(places, place_mode)
    directories: list[Change] = [
        Directory(path, layout.WORKER, group, code[path], "keep") for path in sorted(code, key=lambda path: path.parts)
    ]
    if app.shared.directories and not app.data_root.is_relative_to(app.root):
        directories.append(Directory(app.data_root, "root", "root", 0o755, "keep"))
    user = app.ownership.user
    for name in app.shared.directories:
        above = _parents(app.data_root / name, app.data_root)
        directories += [Directory(parent, "root", "root", 0o755, "keep") for parent in above]
        # Data that is older than hookd's part keeps its owner and mode.
        existing: Existing = "keep" if app.service.units == "existing" else "correct"
        directories.append(
            Directory(app.data_root / name, user, app.ownership.group, WRITABLE.directory, "keep", existing)
        )
    if app.release.backup and phases_of(app):
        directories.append(Directory(layout.BACKUPS / app.name, "root", "root", 0o700, "keep"))
    return list(dict.fromkeys(directories))


def _parents(path: Path, root: Path) -> list[Path]:
    """Return the directories between a root and a path, the outermost first."""
    return [parent for parent in reversed(path.parents) if parent != root and parent.is_relative_to(root)]


def _initial_files(app: App, toml: str, initial: InitialContents) -> list[Change]:
    mode, shared = GROUP_READABLE.file, initial.shared or {}
    group = layout.WORKER if app.ownership.policy == "acl" else app.ownership.group
    files: list[Change] = []
    for name in app.shared.files:
        text = shared.get(name, _SHARED.format(name=app.name, file=name))
        file = File(app.shared_root / name, text, layout.WORKER, group, mode, existing="keep", removal="keep")
        files.append(file)
    texts = {
        layout.app_environment(app.name): initial.environment or VARIABLES.format(name=app.name),
        layout.build_environment(app.name): BUILD_VARIABLES.format(name=app.name),
    }
    own = (path for path in texts if path in app.variable_files)
    files += [File(path, texts[path], "root", layout.WORKER, mode, existing="keep text") for path in own]
    files.append(File(layout.app_secret(app.name), f"{initial.secret}\n", mode=PRIVATE.file, existing="keep"))
    files.append(File(layout.app_file(app.name), toml))
    return files


def _reload_commands(app: App) -> list[Change]:
    """Build the commands that make systemd, nginx and the receiver load a change.

    Blue-green units also start now: the parent unit succeeds without a release. The first deployment starts a single
    service.
    """
    now = ("--now",) if app.service.handover == "blue-green" else ()
    enabled = ((now, enabled_units(app)), (("--now",), timer_units(app)))
    enable = [
        Run(("systemctl", "enable", *options, "--quiet", *units), "they start with the host", after=(layout.SYSTEMD,))
        for options, units in enabled
        if units
    ]
    places = layout.tmpfiles(app.name)
    make_places = Run(("systemd-tmpfiles", "--create", str(places)), "the places of its phases below /run", (places,))
    return [
        Run(DAEMON_RELOAD, "systemd reads the units", after=(layout.SYSTEMD,)),
        *([make_places] if phases_of(app) else []),
        *enable,
        Run(
            RESTART_RECEIVER,
            "the receiver reads catalogue and secrets, and requests wait meanwhile",
            after=(layout.app_file(app.name), layout.app_secret(app.name)),
        ),
        *nginx_reload_commands(),
    ]


def units_of(app: App) -> tuple[str, ...]:
    """Return all units of an app in the order of a stop, sockets first. Without systemd there are none."""
    name = app.service_name
    if not app.uses_systemd:
        return ()
    if app.service.units == "existing":
        has_socket = app.service.listen or app.service.own_socket
        return (*((f"{name}.socket",) if has_socket else ()), *(f"{one}.service" for one in sorted(app.services)))
    if app.service.own_address:
        return (f"{name}.service",)
    if app.service.handover == "restart":
        return (f"{name}.socket", f"{name}.service")
    return (
        f"{name}.socket",
        *(f"{name}-{colour}-health.socket" for colour in COLOURS),
        f"{name}.service",
        *(f"{name}-{colour}.service" for colour in COLOURS),
    )


def enabled_units(app: App) -> tuple[str, ...]:
    """Return the units that start with the host. The parent unit of colours starts the processes of one."""
    name, processes = app.service_name, () if app.colours else all_processes(app)
    sockets = () if app.service.own_address else (f"{name}.socket",)
    return (*((*sockets, f"{name}.service") if app.service.units == "hookd" else ()), *processes)
