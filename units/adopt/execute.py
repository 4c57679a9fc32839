"""Execution of an adoption: check the first release beside the old process, open it to visitors, change the unit.

The old process stays untouched until the unit changes. After a failure visitors are first sent back to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from units.adopt import nginx, state
from units.adopt.prepare import check_files, final_files, interim_files, public_socket_files
from units.adopt.rollback import roll_back
from units.adopt.state import Adoption, Stage
from units.adopt.systemd import (
    RELOAD,
    START_SECONDS,
    is_active,
    remove_empty_directories,
    stop_interim_units,
    wait_until,
    wait_until_healthy,
)
from units.apps.manage import Server
from units.apps.plan import InitialContents, app_plan, app_toml
from units.apps.secrets import new_secret
from units.plan.apply import Echo, Installer
from units.plan.steps import Absent, File, Plan, Run
from units.system import layout
from units.system.disk import UnsafePath
from units.system.errors import HostError
from units.system.http import Address
from units.system.run import CommandFailed, run, succeeds


@dataclass
class AdoptionExecutor:
    """Steps of one prepared adoption."""

    server: Server
    adoption: Adoption
    echo: Echo

    @property
    def _installer(self) -> Installer:
        return Installer(self.server.manifest, layout.app_scope(self.adoption.name), self.echo)

    def deploy_first_release(self, deploy: Callable[[str], int]) -> None:
        """Deploy the running commit to the interim unit, without visitors. Raises HostError if it fails."""
        stop_interim_units(self.adoption)
        if status := deploy(self.adoption.commit):
            stop_interim_units(self.adoption)
            message = f"the first release failed (exit status {status}); the old process still serves"
            raise HostError(message, hint="fix the error above, then the same command again")

    def open_public_socket(self) -> None:
        """Send visitors' requests to the interim unit. Raises HostError after a rollback."""
        self.adoption = state.save(self.adoption.with_stage(Stage.OPENED))
        with self._rollback_on_failure():
            files = interim_files(self.adoption, self.server.host, is_public=True)
            self._installer.apply((*files, *public_socket_files(self.adoption, self.server.host), RELOAD))
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
            failure = f"{socket} does not open"
            wait_until(lambda: succeeds(("systemctl", "start", socket)), failure, START_SECONDS)
        self._run(("systemctl", "restart", interim), "the first release takes requests")

    def switch_unit(self) -> None:
        """Restart the unit in the release and remove the interim unit. Raises HostError after a rollback."""
        unit, check = f"{self.adoption.unit}.service", f"{self.adoption.unit}-check.socket"
        with self._rollback_on_failure():
            self._installer.apply(self._final_plan())
            self._run(("systemctl", "start", check), "hookd checks the unit here")
            self._run(("systemctl", "restart", unit), "from the old process to the release")
            if not is_active(unit):
                raise HostError(f"{unit} did not start: journalctl --unit {unit} --lines 50")
            self._check(Address(self.adoption.check_socket), unit)
        self._clean_up()

    def _final_plan(self) -> Plan:
        adoption = self.adoption
        files = (*final_files(adoption, self.server.host), *check_files(adoption))
        contents = InitialContents(new_secret(), adoption.environment)
        plan = app_plan(adoption.app, app_toml(adoption.name, adoption.table), contents, files)
        return (*(Absent(path) for path in self._socket_drop_ins()), *plan, RELOAD)

    def _socket_drop_ins(self) -> list[Path]:
        """Return the drop-in that passes visitors' socket to the interim unit."""
        files = public_socket_files(self.adoption, self.server.host)
        return [file.path for file in files if isinstance(file, File) and file.path.suffix == ".conf"]

    def _clean_up(self) -> None:
        """Stop the interim unit, which finishes its requests, and remove all temporary files."""
        stop_interim_units(self.adoption)
        temporary = (*interim_files(self.adoption, self.server.host, is_public=True), *check_files(self.adoption))
        final = {file.path for file in final_files(self.adoption, self.server.host)}
        removals = (Absent(file.path) for file in temporary if file.path not in final)
        self._installer.apply((*removals, RELOAD))
        remove_empty_directories(self.adoption, self.server.manifest)
        self.adoption = state.save(self.adoption.with_stage(Stage.DONE))

    @contextmanager
    def _rollback_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (HostError, CommandFailed, UnsafePath, OSError) as error:
            self.echo(f"rolling back: {error}")
            roll_back(self.adoption, self.server.host, self.server.manifest, self.echo)
            message = f"{error}\n  the old process serves again"
            raise HostError(message, hint="fix the error, then the same command again") from None

    def _check(self, address: Address, name: str) -> None:
        wait_until_healthy(address, self.adoption.page, self.adoption.app.health, name)

    def _run(self, argv: tuple[str, ...], why: str) -> None:
        self.echo(f"+ {Run(argv, why)}")
        run(argv, seconds=START_SECONDS)
