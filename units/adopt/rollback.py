"""Rollback of an adoption: visitors reach the old process again, and the project's own files stay as they are."""

from pathlib import Path

from hookd.model.app import App
from units.adopt import nginx, state
from units.adopt.prepare import check_files, first_plan, interim_files, public_socket_files
from units.adopt.state import Adoption, Stage
from units.adopt.systemd import (
    RELOAD,
    START_SECONDS,
    close_public_socket,
    remove_empty_directories,
    wait_until_healthy,
)
from units.plan.apply import Echo, Installer
from units.plan.manifest import Manifest
from units.plan.steps import Absent, File, Link, Run, drop_in_directories
from units.system import disk, layout
from units.system.errors import HostError
from units.system.facts import Host
from units.system.http import Address, address_of
from units.system.run import CommandFailed, run


def undo_adoption(app: App, host: Host, manifest: Manifest, echo: Echo, *, dry_run: bool) -> App:
    """Undo the adoption of an app before its removal; return the app to remove.

    The unit runs the old checkout again. If the old process cannot start, the removal goes on and the app is closed.
    """
    adoption = state.load(app.name)
    if adoption is None:
        return app
    if dry_run:
        echo(f"+ roll back  {adoption.unit}.service runs the old checkout in {adoption.root} again")
        return adoption.interim_app
    try:
        if adoption.stage is Stage.DONE:
            _serve_from_interim_unit(adoption, host, manifest, echo)
        if adoption.stage is not Stage.DECIDED:
            roll_back(adoption, host, manifest, echo)
            echo(f"{adoption.unit}.service runs the old checkout in {adoption.root} again; hookd's releases there stay")
    except (HostError, CommandFailed) as error:
        changed = ", ".join(str(one.path) for one in adoption.changes) or adoption.unit
        echo(f"the old process of {app.name} does not start, and nothing serves it: {error}")
        echo(f"  next: check {changed}")
    close_public_socket(adoption)
    state.delete(app.name)
    return adoption.interim_app


def _serve_from_interim_unit(adoption: Adoption, host: Host, manifest: Manifest, echo: Echo) -> None:
    files = interim_files(adoption, host, is_public=True)
    installer = Installer(manifest, layout.app_scope(adoption.name), echo)
    installer.apply((*drop_in_directories(files), *files, RELOAD))
    _restart(adoption.interim_unit, "it serves while the unit changes", echo)
    wait_until_healthy(Address(adoption.interim_socket), adoption.page, adoption.app.health, "the release")


def roll_back(adoption: Adoption, host: Host, manifest: Manifest, echo: Echo) -> None:
    """Start the old process if it stopped, send visitors to it, and remove the rest.

    Raises HostError and CommandFailed.
    """
    installer = Installer(manifest, layout.app_scope(adoption.name), echo)
    drop_ins = _drop_ins(adoption)
    has_stopped = adoption.entrance == "direct" or any(disk.status(path) is not None for path in drop_ins)
    # Visitors' socket must name the interim unit again: systemd passes it to the unit it names, and the old process
    # binds its own address.
    installer.apply((*public_socket_files(adoption, host), *map(Absent, drop_ins), RELOAD))
    if adoption.entrance == "direct":
        close_public_socket(adoption)
    if has_stopped:
        _restart(adoption.unit, "the old process starts again", echo)
    old = address_of(adoption.old_addresses[0])
    wait_until_healthy(old, adoption.page, adoption.app.health, "the old process")
    for path in nginx.revert_changes(adoption):
        echo(f"  {path} was changed by others and stays")
    close_public_socket(adoption)
    temporary = (*public_socket_files(adoption, host), *check_files(adoption))
    removals = (Absent(step.path) for step in temporary if isinstance(step, File | Link))
    installer.apply((*removals, *first_plan(adoption, host), RELOAD))
    remove_empty_directories(adoption, manifest)
    state.save(adoption.with_stage(Stage.DECIDED))


def _drop_ins(adoption: Adoption) -> tuple[Path, ...]:
    directory = layout.SYSTEMD / f"{adoption.unit}.service.d"
    return directory / "hookd.conf", directory / "zz-hookd-adopt.conf"


def _restart(unit: str, why: str, echo: Echo) -> None:
    command = Run(("systemctl", "restart", f"{unit}.service"), why)
    echo(f"+ {command}")
    run(command.argv, seconds=START_SECONDS)
