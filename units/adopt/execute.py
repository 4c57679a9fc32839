"""Execution of an adoption: check the first release beside the old process, open it to visitors, change the unit.

The old process stays untouched until the unit changes. After a failure visitors are first sent back to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hookd.http_probe import Address, parse_address
from hookd.model.app import App
from units.adopt import nginx, state
from units.adopt.prepare import check_files, final_files, first_plan, interim_files, public_socket_files
from units.adopt.state import Adoption, Stage
from units.adopt.systemd import (
    START_SECONDS,
    close_public_socket,
    is_active,
    remove_empty_directories,
    stop_interim_units,
    wait_until,
    wait_until_healthy,
)
from units.apps.plan import InitialContents, app_plan, app_toml
from units.apps.secrets import new_secret
from units.plan.apply import Echo, Installer
from units.plan.manifest import Manifest
from units.plan.steps import DAEMON_RELOAD, Absent, File, Link, Plan, Run, drop_in_directories
from units.system import disk, layout
from units.system.disk import UnsafePath
from units.system.errors import HostError
from units.system.facts import Host
from units.system.run import CommandFailed, run, succeeds


@dataclass
class AdoptionExecutor:
    """Steps of one prepared adoption, and their rollback."""

    host: Host
    manifest: Manifest
    adoption: Adoption
    echo: Echo

    def deploy_first_release(self, deploy: Callable[[str], int]) -> None:
        """Deploy the running commit to the interim unit, without visitors. Raises HostError if it fails."""
        stop_interim_units(self.adoption)
        if status := deploy(self.adoption.commit):
            stop_interim_units(self.adoption)
            message = f"the first release failed (exit status {status}); the old process still serves"
            raise HostError(message, hint="fix the error above, then the same command again")

    def open_public_socket(self) -> None:
        """Send visitors' requests to the interim unit. Raises HostError after a rollback."""
        self._save(Stage.OPENED)
        with self._rollback_on_failure():
            files = interim_files(self.adoption, self.host, is_public=True)
            self._apply((*files, *public_socket_files(self.adoption, self.host)))
            self._start_public_socket()
            self._check(Address(self.adoption.interim_socket), "the first release")
            nginx.apply_changes(self.adoption)

    def _start_public_socket(self) -> None:
        """Restart the interim unit behind visitors' socket, because systemd opens no socket of a running service."""
        socket, interim = f"{self.adoption.unit}.socket", f"{self.adoption.interim_unit}.service"
        if self.adoption.entrance != "socket" and not is_active(socket):
            self._run(("systemctl", "stop", interim), "the socket opens first")
            if self.adoption.entrance == "direct":
                old = f"{self.adoption.unit}.service"
                self._run(("systemctl", "stop", "--no-block", old), "the old process finishes its requests")
            wait_until(lambda: succeeds(("systemctl", "start", socket)), f"{socket} does not open", START_SECONDS)
        self._run(("systemctl", "restart", interim), "the first release takes requests")

    def switch_unit(self) -> None:
        """Restart the unit in the release and remove the interim unit. Raises HostError after a rollback."""
        unit, check = f"{self.adoption.unit}.service", f"{self.adoption.unit}-check.socket"
        with self._rollback_on_failure():
            self._apply(self._final_plan())
            self._run(("systemctl", "start", check), "hookd checks the unit here")
            self._run(("systemctl", "restart", unit), "from the old process to the release")
            if not is_active(unit):
                raise HostError(f"{unit} did not start: journalctl --unit {unit} --lines 50")
            self._check(Address(self.adoption.check_socket), unit)
        self._clean_up()

    def _final_plan(self) -> Plan:
        adoption = self.adoption
        sockets = public_socket_files(adoption, self.host)
        to_interim = [file.path for file in sockets if isinstance(file, File) and file.path.suffix == ".conf"]
        files = (*final_files(adoption, self.host), *check_files(adoption))
        contents = InitialContents(new_secret(), adoption.environment)
        plan = app_plan(adoption.app, app_toml(adoption.name, adoption.table), contents, files)
        return (*map(Absent, to_interim), *plan)

    def _clean_up(self) -> None:
        """Stop the interim unit, which finishes its requests, and remove all temporary files."""
        stop_interim_units(self.adoption)
        temporary = (*interim_files(self.adoption, self.host, is_public=True), *check_files(self.adoption))
        final = {file.path for file in final_files(self.adoption, self.host)}
        self._apply(tuple(Absent(file.path) for file in temporary if file.path not in final))
        remove_empty_directories(self.adoption, self.manifest)
        self._save(Stage.DONE)

    @contextmanager
    def _rollback_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (HostError, CommandFailed, UnsafePath, OSError) as error:
            self.echo(f"rolling back: {error}")
            self.roll_back()
            message = f"{error}\n  the old process serves again"
            raise HostError(message, hint="fix the error, then the same command again") from None

    def roll_back(self) -> None:
        """Start the old process if it stopped, send visitors to it, and remove the rest.

        Raises HostError and CommandFailed.
        """
        adoption, drop_ins = self.adoption, self._drop_ins()
        has_stopped = adoption.entrance == "direct" or any(disk.status(path) is not None for path in drop_ins)
        # Visitors' socket must name the interim unit again: systemd passes it to the unit it names, and the old
        # process binds its own address.
        self._apply((*public_socket_files(adoption, self.host), *map(Absent, drop_ins)))
        if adoption.entrance == "direct":
            close_public_socket(adoption)
        if has_stopped:
            self._run(("systemctl", "restart", f"{adoption.unit}.service"), "the old process starts again")
        self._check(parse_address(adoption.old_addresses[0]), "the old process")
        for path in nginx.revert_changes(adoption):
            self.echo(f"  {path} was changed by others and stays")
        close_public_socket(adoption)
        temporary = (*public_socket_files(adoption, self.host), *check_files(adoption))
        removals = (Absent(step.path) for step in temporary if isinstance(step, File | Link))
        self._apply((*removals, *first_plan(adoption, self.host)))
        remove_empty_directories(adoption, self.manifest)
        self._save(Stage.DECIDED)

    def _drop_ins(self) -> tuple[Path, ...]:
        directory = layout.SYSTEMD / f"{self.adoption.unit}.service.d"
        return directory / "hookd.conf", directory / "zz-hookd-adopt.conf"

    def serve_from_interim_unit(self) -> None:
        """Start the interim unit for visitors again. Raises HostError and CommandFailed."""
        files = interim_files(self.adoption, self.host, is_public=True)
        self._apply((*drop_in_directories(files), *files))
        interim = f"{self.adoption.interim_unit}.service"
        self._run(("systemctl", "restart", interim), "it serves while the unit changes")
        self._check(Address(self.adoption.interim_socket), "the release")

    def _apply(self, plan: Plan) -> None:
        reload = Run(DAEMON_RELOAD, "systemd reads the units")
        Installer(self.manifest, layout.app_scope(self.adoption.name), self.echo).apply((*plan, reload))

    def _check(self, address: Address, name: str) -> None:
        wait_until_healthy(address, self.adoption.page, self.adoption.app.health, name)

    def _run(self, argv: tuple[str, ...], why: str) -> None:
        self.echo(f"+ {Run(argv, why)}")
        run(argv, seconds=START_SECONDS)

    def _save(self, stage: Stage) -> None:
        self.adoption = state.save(self.adoption.with_stage(stage))


def undo_adoption(app: App, host: Host, manifest: Manifest, echo: Echo, *, dry_run: bool) -> App:
    """Undo the adoption of an app before its removal. Return the app to remove.

    The unit runs the old checkout again. If the old process cannot start, the removal continues and the app is closed.
    """
    adoption = state.load(app.name)
    if adoption is None:
        return app
    again = f"{adoption.unit}.service runs the old checkout in {adoption.root} again"
    if dry_run:
        echo(f"+ roll back  {again}")
        return adoption.interim_app
    steps = AdoptionExecutor(host, manifest, adoption, echo)
    try:
        if adoption.stage is Stage.DONE:
            steps.serve_from_interim_unit()
        if adoption.stage is not Stage.DECIDED:
            steps.roll_back()
            echo(f"{again}; hookd's releases there stay")
    except (HostError, CommandFailed) as error:
        echo(f"the old process of {app.name} does not start, and nothing serves it: {error}")
        echo(f"  next: check {', '.join(str(one.path) for one in adoption.changes) or adoption.unit}")
    close_public_socket(adoption)
    state.delete(app.name)
    return adoption.interim_app
