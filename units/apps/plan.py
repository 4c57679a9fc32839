"""The plan of one app: directories, files, units, and the commands that load them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit

from hookd.files.policies import GROUP_READABLE, OWNER_READABLE, PRIVATE, WORLD_READABLE, WRITABLE
from hookd.model.app import App
from units.plan.steps import (
    DAEMON_RELOAD,
    RESTART_RECEIVER,
    Directory,
    Existing,
    File,
    Link,
    Plan,
    PlanStep,
    Run,
    drop_in_directories,
    nginx_reload_steps,
)
from units.system import layout

_HEADER: Final = "What hookd knows of {name}. To change it: sudo hookd app edit {name}"
VARIABLES: Final = """# Variables of {name}, one NAME=value per line, for its units and its builds.
# After a change: sudo hookd restart {name}
"""
_SHARED: Final = "# {name}'s own {file}, linked into every release.\n"


@dataclass(frozen=True)
class InitialContents:
    """Contents of an app's files at their creation: secret, variables, shared files."""

    secret: str
    environment: str | None = None
    shared: Mapping[str, str] | None = None


def app_toml(name: str, table: Mapping[str, Any]) -> str:
    """Return the text of an app's file."""
    document = tomlkit.document()
    document.add(tomlkit.comment(_HEADER.format(name=name)))
    for key, value in table.items():
        document.add(key, value)
    return tomlkit.dumps(document)


def app_plan(app: App, toml: str, initial: InitialContents, files: tuple[File | Link, ...]) -> Plan:
    """Build the plan of an app. `files` are its units, sudoers, site and log rotation."""
    return (
        *_directories(app),
        *_initial_files(app, toml, initial),
        *drop_in_directories(files),
        *files,
        *_reload_steps(app, files),
    )


def _directories(app: App) -> list[PlanStep]:
    owner, group, mode = _code_owner(app)
    shared = [app.shared_root] if app.shared.files or app.data_root == app.shared_root else []
    below = {parent for name in app.shared.files for parent in _parents(app.shared_root / name, app.shared_root)}
    code = dict.fromkeys([app.root, *shared, *sorted(below)])
    directories: list[PlanStep] = [Directory(path, owner, group, mode, "keep") for path in code]
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
    return list(dict.fromkeys(directories))


def _parents(path: Path, root: Path) -> list[Path]:
    """Return the directories between a root and a path, the outermost first."""
    return [parent for parent in reversed(path.parents) if parent != root and parent.is_relative_to(root)]


def _code_owner(app: App) -> tuple[str, str, int]:
    match app.ownership.policy:
        case "group":
            return layout.WORKER, app.ownership.group, GROUP_READABLE.directory
        case "split":
            return layout.WORKER, layout.WORKER, WORLD_READABLE.directory
        case "acl":
            return layout.WORKER, layout.WORKER, OWNER_READABLE.directory


def _initial_files(app: App, toml: str, initial: InitialContents) -> list[PlanStep]:
    owner, mode = layout.WORKER, GROUP_READABLE.file
    group = layout.WORKER if app.ownership.policy == "acl" else app.ownership.group
    files: list[PlanStep] = [
        File(app.shared_root / name, text, owner, group, mode, existing="keep", removal="keep")
        for name, text in _shared_files(app, initial).items()
    ]
    environment = initial.environment or VARIABLES.format(name=app.name)
    if app.build.environment_file == layout.app_environment(app.name):
        path = layout.app_environment(app.name)
        files.append(File(path, environment, "root", layout.WORKER, mode, existing="keep text"))
    files.append(File(layout.app_secret(app.name), f"{initial.secret}\n", mode=PRIVATE.file, existing="keep"))
    files.append(File(layout.app_file(app.name), toml))
    return files


def _shared_files(app: App, initial: InitialContents) -> dict[str, str]:
    shared = initial.shared or {}
    return {name: shared.get(name, _SHARED.format(name=app.name, file=name)) for name in app.shared.files}


def _reload_steps(app: App, files: tuple[File | Link, ...]) -> list[PlanStep]:
    """Build the commands that make systemd, nginx and the receiver load a change."""
    steps: list[PlanStep] = [
        Run(DAEMON_RELOAD, "systemd reads the units", after=(layout.SYSTEMD,)),
        *_enable_steps(app),
        Run(
            RESTART_RECEIVER,
            "the receiver reads catalogue and secrets, and requests wait meanwhile",
            after=(layout.app_file(app.name), layout.app_secret(app.name)),
        ),
    ]
    if any(file.path.is_relative_to(layout.NGINX) for file in files):
        steps += nginx_reload_steps()
    return steps


def units_of(app: App) -> tuple[str, ...]:
    """Return all units of an app in the order of a stop, sockets first. Without systemd there are none."""
    name = app.service_name
    if app.service.manager != "systemd":
        return ()
    if app.service.units == "existing":
        has_socket = app.service.listen or app.service.own_socket
        return (*((f"{name}.socket",) if has_socket else ()), *(f"{one}.service" for one in sorted(app.services)))
    if app.service.handover == "restart":
        return (f"{name}.socket", f"{name}.service")
    colours = ("blue", "green")
    return (
        f"{name}.socket",
        *(f"{name}-{colour}-health.socket" for colour in colours),
        f"{name}.service",
        *(f"{name}-{colour}.service" for colour in colours),
    )


def enabled_units(app: App) -> tuple[str, ...]:
    """Return the units that start with the host."""
    name = app.service_name
    return (f"{name}.socket", f"{name}.service") if app.service.units == "hookd" else ()


def _enable_steps(app: App) -> list[Run]:
    """Build the command that enables the units.

    Blue-green units also start now: the parent unit succeeds without a release. The first deployment starts a single
    service.
    """
    if not enabled_units(app):
        return []
    now = ("--now",) if app.service.handover == "blue-green" else ()
    why = "its units start with the host"
    return [Run(("systemctl", "enable", *now, "--quiet", *enabled_units(app)), why, after=(layout.SYSTEMD,))]
