"""Leads visitors back to the old process, however far an adoption has come; the project's own files are not touched."""

from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.adopt import nginx, state
from units.adopt.prepare import check_files, first_plan, interim_files, public_socket_files
from units.adopt.state import Adoption, Stage
from units.adopt.systemd import remove_empty_directories, stop_interim_units, wait_until_healthy
from units.plan.apply import Echo, Installer
from units.plan.manifest import Manifest
from units.plan.steps import DAEMON_RELOAD, Absent, File, Link, Run, drop_in_directories
from units.system import disk, layout
from units.system.errors import HostError
from units.system.facts import Host
from units.system.http import Address, address_of
from units.system.run import CommandFailed, run

_SECONDS: Final = 180
_RELOAD: Final = Run(DAEMON_RELOAD, "systemd reads the units")


def undo_adoption(app: App, host: Host, manifest: Manifest, echo: Echo, *, dry_run: bool) -> App:
    """Undo the adoption of an app, if it was adopted: its unit runs the old checkout again, as it was left there.

    To be called before the app is removed, which it does not hold up: where there is no old process any more, the app
    is closed. Returns what is to be removed then: the app as it was, or with the bridge, which is no longer needed.
    """
    adoption = state.load(app.name)
    if adoption is None:
        return app
    if dry_run:
        echo(f"+ give back  {adoption.unit}.service runs the old checkout in {adoption.root} again")
        return adoption.bridge
    try:
        if adoption.stage is Stage.DONE:
            _serve_from_interim_unit(adoption, host, manifest, echo)
        if adoption.stage is not Stage.DECIDED:
            roll_back(adoption, host, manifest, echo)
            echo(f"{adoption.unit}.service runs the old checkout in {adoption.root} again; hookd's releases there stay")
    except (HostError, CommandFailed) as error:
        echo(f"the old process cannot be brought back ({error}), so that nothing serves {app.name} any more")
        echo(f"  next: look at {', '.join(str(one.path) for one in adoption.changes) or adoption.unit}")
    stop_interim_units(adoption)
    state.delete(app.name)
    return adoption.bridge


def _serve_from_interim_unit(adoption: Adoption, host: Host, manifest: Manifest, echo: Echo) -> None:
    files = interim_files(adoption, host, open_door=True)
    installer = Installer(manifest, layout.app_scope(adoption.name), echo)
    installer.apply((*drop_in_directories(files), *files, _RELOAD))
    _restart(adoption.interim_unit, "it serves while the unit changes", echo)
    wait_until_healthy(Address(adoption.interim_socket), adoption.page, adoption.app.health, "the release")


def roll_back(adoption: Adoption, host: Host, manifest: Manifest, echo: Echo) -> None:
    """Start the old process if it is gone, lead visitors to it, and stop the rest. Raises HostError, CommandFailed."""
    installer = Installer(manifest, layout.app_scope(adoption.name), echo)
    drop_ins = _drop_ins(adoption)
    is_gone = adoption.way == "direct" or any(disk.status(path) is not None for path in drop_ins)
    # The door leads to the bridge again: systemd hands it to the unit that it names, which must bind its own address.
    installer.apply((*public_socket_files(adoption, host), *(Absent(path) for path in drop_ins), _RELOAD))
    if adoption.way == "direct":
        stop_interim_units(adoption)
    if is_gone:
        _restart(adoption.unit, "the old process starts again", echo)
    wait_until_healthy(address_of(adoption.olds[0]), adoption.page, adoption.app.health, "the old process")
    for path in nginx.revert_changes(adoption):
        echo(f"  {path} was changed by somebody else and stays as it is")
    stop_interim_units(adoption)
    for_now = (*public_socket_files(adoption, host), *check_files(adoption))
    gone = (Absent(step.path) for step in for_now if isinstance(step, File | Link))
    installer.apply((*gone, *first_plan(adoption, host), _RELOAD))
    remove_empty_directories(adoption, manifest)
    state.save(adoption.at(Stage.DECIDED))


def _drop_ins(adoption: Adoption) -> tuple[Path, ...]:
    directory = layout.SYSTEMD / f"{adoption.unit}.service.d"
    return directory / "hookd.conf", directory / "zz-hookd-adopt.conf"


def _restart(unit: str, why: str, echo: Echo) -> None:
    command = Run(("systemctl", "restart", f"{unit}.service"), why)
    echo(f"+ {command}")
    run(command.argv, seconds=_SECONDS)
