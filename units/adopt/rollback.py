"""Leads visitors back to the old process, however far an adoption has come; the project's own files are not touched."""

from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.adopt import nginx, state
from units.adopt.prepare import bridge_files, check_files, door_files, first_plan
from units.adopt.state import Adoption, Stage
from units.adopt.systemd import close, forget_empty_directories, until_well
from units.plan.apply import Installer, Say
from units.plan.manifest import Manifest
from units.plan.steps import DAEMON_RELOAD, Absent, File, Link, Run, drop_in_directories
from units.system import disk, layout
from units.system.errors import HostError
from units.system.facts import Host
from units.system.http import Address, address_of
from units.system.run import CommandFailed, run

_SECONDS: Final = 180
_RELOAD: Final = Run(DAEMON_RELOAD, "systemd reads the units")


def give_back(app: App, host: Host, manifest: Manifest, say: Say, *, dry_run: bool) -> App:
    """Undo the adoption of an app, if it was adopted: its unit runs the old checkout again, as it was left there.

    To be called before the app is removed, which it does not hold up: where there is no old process any more, the app
    is closed. Returns what is to be removed then: the app as it was, or with the bridge, which is no longer needed.
    """
    adoption = state.load(app.name)
    if adoption is None:
        return app
    if dry_run:
        say(f"+ give back  {adoption.unit}.service runs the old checkout in {adoption.root} again")
        return adoption.bridge
    try:
        if adoption.stage is Stage.DONE:
            _serve_by_the_bridge(adoption, host, manifest, say)
        if adoption.stage is not Stage.DECIDED:
            lead_back(adoption, host, manifest, say)
            say(f"{adoption.unit}.service runs the old checkout in {adoption.root} again; hookd's releases there stay")
    except (HostError, CommandFailed) as error:
        say(f"the old process cannot be brought back ({error}), so that nothing serves {app.name} any more")
        say(f"  next: look at {', '.join(str(one.path) for one in adoption.changes) or adoption.unit}")
    close(adoption)
    state.forget(app.name)
    return adoption.bridge


def _serve_by_the_bridge(adoption: Adoption, host: Host, manifest: Manifest, say: Say) -> None:
    files = bridge_files(adoption, host, open_door=True)
    installer = Installer(manifest, layout.app_scope(adoption.name), say)
    installer.apply((*drop_in_directories(files), *files, _RELOAD))
    _restart(adoption.bridge_unit, "it serves while the unit changes", say)
    until_well(Address(adoption.bridge_socket), adoption.page, adoption.app.health, "the release")


def lead_back(adoption: Adoption, host: Host, manifest: Manifest, say: Say) -> None:
    """Start the old process if it is gone, lead visitors to it, and stop the rest. Raises HostError, CommandFailed."""
    installer = Installer(manifest, layout.app_scope(adoption.name), say)
    drop_ins = _drop_ins(adoption)
    is_gone = adoption.way == "direct" or any(disk.status(path) is not None for path in drop_ins)
    # The door leads to the bridge again: systemd hands it to the unit that it names, which must bind its own address.
    installer.apply((*door_files(adoption, host), *(Absent(path) for path in drop_ins), _RELOAD))
    if adoption.way == "direct":
        close(adoption)
    if is_gone:
        _restart(adoption.unit, "the old process starts again", say)
    until_well(address_of(adoption.olds[0]), adoption.page, adoption.app.health, "the old process")
    for path in nginx.lead_back(adoption):
        say(f"  {path} was changed by somebody else and stays as it is")
    close(adoption)
    for_now = (*door_files(adoption, host), *check_files(adoption))
    gone = (Absent(step.path) for step in for_now if isinstance(step, File | Link))
    installer.apply((*gone, *first_plan(adoption, host), _RELOAD))
    forget_empty_directories(adoption, manifest)
    state.keep(adoption.at(Stage.DECIDED))


def _drop_ins(adoption: Adoption) -> tuple[Path, ...]:
    directory = layout.SYSTEMD / f"{adoption.unit}.service.d"
    return directory / "hookd.conf", directory / "zz-hookd-adopt.conf"


def _restart(unit: str, why: str, say: Say) -> None:
    command = Run(("systemctl", "restart", f"{unit}.service"), why)
    say(f"+ {command}")
    run(command.argv, seconds=_SECONDS)
