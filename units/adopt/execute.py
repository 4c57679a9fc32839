"""Carries an adoption out: prove the first release beside the old process, let visitors in, change the unit, clean up.

Until the unit changes, the old process is not touched. When something fails, visitors are led back to it first.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from units.adopt import nginx, state
from units.adopt.prepare import check_files, final_files, interim_files, public_socket_files
from units.adopt.rollback import roll_back
from units.adopt.state import Adoption, Stage
from units.adopt.systemd import is_active, remove_empty_directories, stop_bridge, wait_until, wait_until_healthy
from units.apps.manage import Server
from units.apps.plan import InitialContents, app_plan, app_toml
from units.apps.secrets import new_secret
from units.plan.apply import Echo, Installer
from units.plan.steps import DAEMON_RELOAD, Absent, File, Plan, Run
from units.system import layout
from units.system.disk import UnsafePath
from units.system.errors import HostError
from units.system.http import Address
from units.system.run import CommandFailed, run, succeeds

_SECONDS: Final = 180
_RELOAD: Final = Run(DAEMON_RELOAD, "systemd reads the units")


@dataclass
class AdoptionExecutor:
    """One adoption on this host, prepared."""

    server: Server
    adoption: Adoption
    echo: Echo

    @property
    def _installer(self) -> Installer:
        return Installer(self.server.manifest, layout.app_scope(self.adoption.name), self.echo)

    def first_release(self, deploy: Callable[[str], int]) -> None:
        """Deploy the commit that runs now to the bridge; raises HostError when it is not well: visitors saw nothing."""
        stop_bridge(self.adoption)
        if status := deploy(self.adoption.commit):
            stop_bridge(self.adoption)
            raise HostError(
                f"the first release is not well (the deployment ended with {status}); the old process serves as before",
                hint="mend what it says above, then the same command again",
            )

    def open_door(self) -> None:
        """Let the bridge take visitors' requests; raises HostError after they were led back to the old process."""
        self.adoption = state.save(self.adoption.at(Stage.OPENED))
        with self._or_back():
            files = interim_files(self.adoption, self.server.host, open_door=True)
            self._installer.apply((*files, *public_socket_files(self.adoption, self.server.host), _RELOAD))
            self._open()
            self._ask(Address(self.adoption.interim_socket), "the first release")
            nginx.apply_changes(self.adoption)

    def _open(self) -> None:
        """systemd opens no socket whose service runs: the bridge stops for it, which no visitor notices."""
        door, bridge = f"{self.adoption.unit}.socket", f"{self.adoption.interim_unit}.service"
        if self.adoption.way != "held" and not is_active(door):
            self._run(("systemctl", "stop", bridge), "the socket is opened first")
            if self.adoption.way == "direct":
                old = f"{self.adoption.unit}.service"
                self._run(("systemctl", "stop", "--no-block", old), "the old process ends its requests")
            wait_until(lambda: succeeds(("systemctl", "start", door)), f"{door} cannot be opened", _SECONDS)
        self._run(("systemctl", "restart", bridge), "the first release takes requests")

    def switch_unit(self) -> None:
        """Let the unit run the release and remove the bridge; raises HostError after visitors were led back."""
        unit, check = f"{self.adoption.unit}.service", f"{self.adoption.unit}-check.socket"
        with self._or_back():
            self._installer.apply(self._final())
            self._run(("systemctl", "start", check), "the unit is asked here")
            self._run(("systemctl", "restart", unit), "from the old process to the release")
            if not is_active(unit):
                raise HostError(f"{unit} did not start: journalctl --unit {unit} --lines 50")
            self._ask(Address(self.adoption.check_socket), unit)
        self._clean_up()

    def _final(self) -> Plan:
        adoption = self.adoption
        files = (*final_files(adoption, self.server.host), *check_files(adoption))
        given = InitialContents(new_secret(), adoption.environment)
        plan = app_plan(adoption.app, app_toml(adoption.name, adoption.table), given, files)
        return (*(Absent(path) for path in self._to_the_bridge()), *plan, _RELOAD)

    def _to_the_bridge(self) -> list[Path]:
        """The drop-in that leads visitors' socket to the bridge."""
        door = public_socket_files(self.adoption, self.server.host)
        return [file.path for file in door if isinstance(file, File) and file.path.suffix == ".conf"]

    def _clean_up(self) -> None:
        """Stop the bridge, which ends its requests, and take away what was there for the take-over alone."""
        stop_bridge(self.adoption)
        temporary = (*interim_files(self.adoption, self.server.host, open_door=True), *check_files(self.adoption))
        stays = {file.path for file in final_files(self.adoption, self.server.host)}
        gone = [file.path for file in temporary if file.path not in stays]
        self._installer.apply((*(Absent(path) for path in gone), _RELOAD))
        remove_empty_directories(self.adoption, self.server.manifest)
        self.adoption = state.save(self.adoption.at(Stage.DONE))

    @contextmanager
    def _or_back(self) -> Iterator[None]:
        try:
            yield
        except (HostError, CommandFailed, UnsafePath, OSError) as error:
            self.echo(f"this does not work, so it goes back: {error}")
            roll_back(self.adoption, self.server.host, self.server.manifest, self.echo)
            raise HostError(
                f"{error}\n  the old process serves as before", hint="mend it, then the same command again"
            ) from None

    def _ask(self, address: Address, whom: str) -> None:
        wait_until_healthy(address, self.adoption.page, self.adoption.app.health, whom)

    def _run(self, argv: tuple[str, ...], why: str) -> None:
        self.echo(f"+ {Run(argv, why)}")
        run(argv, seconds=_SECONDS)
