"""Execution of an adoption: check the first release beside the old process, open it to visitors, change the unit.

The old process stays untouched until the unit changes. After a failure visitors are first sent back to it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.adopt import nginx, state
from units.adopt.discovery.service import answers
from units.adopt.prepare import DROP_IN, first_changes, interim_files, public_socket_files, trial_files
from units.adopt.state import Adoption, Stage
from units.apps.changes import InitialContents, app_changes, app_toml
from units.apps.secrets import new_secret
from units.changes.apply import Echo, Installer
from units.changes.change import DAEMON_RELOAD, Absent, Changes, File, Link, Run, drop_in_directories
from units.changes.manifest import Manifest
from units.render.app import app_files
from units.system import disk, layout
from units.system.disk import UnsafePath
from units.system.errors import HostError
from units.system.facts import Host
from units.system.run import CommandFailed, run, succeeds
from units.system.systemd import read_units

_START_SECONDS: Final = 180
_PAUSE_SECONDS: Final = 0.1


@dataclass
class AdoptionExecutor:
    """Steps of one prepared adoption, and their rollback."""

    host: Host
    manifest: Manifest
    adoption: Adoption
    echo: Echo

    def deploy_first_release(self, deploy: Callable[[str], int]) -> None:
        """Deploy the running commit to the interim unit, without visitors. Raises HostError if it fails."""
        self._stop_interim_units()
        if status := deploy(self.adoption.commit):
            self._stop_interim_units()
            message = f"the first release failed (exit status {status}); the old process still serves"
            raise HostError(message)

    def open_public_socket(self) -> None:
        """Send visitors' requests to the interim unit. Raises HostError after a rollback."""
        adoption, socket = self.adoption, f"{self.adoption.unit}.socket"
        interim = f"{adoption.interim_unit}.service"
        self._save(Stage.OPENED)
        with self._rollback_on_failure():
            files = interim_files(adoption, self.host, is_public=True)
            self._apply((*files, *public_socket_files(adoption, self.host)))
            if not adoption.app.service.own_socket and not read_units([socket])[socket].is_up:
                # systemd opens no socket of a running service.
                self._run(("systemctl", "stop", interim), "the socket opens first")
                self._run(("systemctl", "start", socket), "visitors' requests wait here")
            self._run(("systemctl", "restart", interim), "the first release takes requests")
            self._check(f"unix:{adoption.interim_socket}", "the first release")
            nginx.apply_changes(adoption)

    def switch_unit(self) -> None:
        """Restart the unit in the release and remove the interim unit. Raises HostError after a rollback."""
        unit, check = f"{self.adoption.unit}.service", f"{self.adoption.unit}-trial.socket"
        with self._rollback_on_failure():
            self._apply(self._final_changes())
            self._run(("systemctl", "start", check), "hookd checks the unit here")
            self._run(("systemctl", "restart", unit), "from the old process to the release")
            if not read_units([unit])[unit].is_up:
                raise HostError(f"{unit} did not start", hint=f"journalctl --unit {unit} --lines 50")
            self._check(f"unix:{self.adoption.check_socket}", unit)
        self._stop_interim_units()
        temporary = (*interim_files(self.adoption, self.host, is_public=True), *trial_files(self.adoption))
        final = {file.path for file in app_files(self.adoption.app, self.host)}
        self._remove(tuple(Absent(file.path) for file in temporary if file.path not in final))
        self._save(Stage.DONE)

    def _final_changes(self) -> Changes:
        adoption = self.adoption
        to_interim = Absent(layout.SYSTEMD / f"{adoption.unit}.socket.d" / DROP_IN)
        files = (*app_files(adoption.app, self.host), *trial_files(adoption))
        contents = InitialContents(new_secret(), adoption.environment)
        return (to_interim, *app_changes(adoption.app, app_toml(adoption.name, adoption.table), contents, files))

    @contextmanager
    def _rollback_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (HostError, CommandFailed, UnsafePath, OSError) as error:
            self.echo(f"rolling back: {error}")
            self.roll_back()
            message = f"{error}\n  the old process serves again"
            raise HostError(message, hint=getattr(error, "hint", None)) from None

    def roll_back(self) -> None:
        """Start the old process if it stopped, send visitors to it, and remove the rest.

        Raises HostError and CommandFailed.
        """
        adoption, unit = self.adoption, f"{self.adoption.unit}.service"
        drop_ins = [layout.SYSTEMD / f"{unit}.d" / name for name in ("hookd.conf", DROP_IN)]
        has_stopped = any(disk.status(path) is not None for path in drop_ins)
        # Visitors' socket must name the interim unit again: systemd passes it to the unit it names, and the old
        # process binds its own address.
        self._apply((*public_socket_files(adoption, self.host), *map(Absent, drop_ins)))
        if has_stopped:
            self._run(("systemctl", "restart", unit), "the old process starts again")
        self._check(adoption.old_address, "the old process")
        for path in nginx.revert_changes(adoption):
            self.echo(f"  {path} was changed by others and stays")
        self.close_public_socket()
        temporary = (*public_socket_files(adoption, self.host), *trial_files(adoption))
        removals = (Absent(change.path) for change in temporary if isinstance(change, File | Link))
        self._remove((*removals, *first_changes(adoption, self.host)))
        self._save(Stage.DECIDED)

    def serve_from_interim_unit(self) -> None:
        """Start the interim unit for visitors again. Raises HostError and CommandFailed."""
        files = interim_files(self.adoption, self.host, is_public=True)
        self._apply((*drop_in_directories(files), *files))
        interim = f"{self.adoption.interim_unit}.service"
        self._run(("systemctl", "restart", interim), "it serves while the unit changes")
        self._check(f"unix:{self.adoption.interim_socket}", "the release")

    def close_public_socket(self) -> None:
        """Stop the interim unit and the socket that hookd opened for visitors. Raises CommandFailed."""
        if self.adoption.app.service.own_socket:
            self._stop_interim_units()
            return
        self._stop_interim_units(f"{self.adoption.unit}.socket")
        disk.remove(layout.SOCKETS / f"{self.adoption.name}.sock")

    def _stop_interim_units(self, *more: str) -> None:
        """Stop the interim unit, which finishes its requests, and the check socket. Raises CommandFailed.

        `more` units stop in the same command: an open socket would start the interim unit again.
        """
        stems = (self.adoption.interim_unit, f"{self.adoption.unit}-trial")
        names = (*more, *(f"{stem}.{kind}" for stem in stems for kind in ("socket", "service")))
        present = [name for name in names if disk.status(layout.SYSTEMD / name) is not None]
        if present:
            run(("systemctl", "stop", *present), seconds=_START_SECONDS)
            succeeds(("systemctl", "reset-failed", *present))
        disk.remove(self.adoption.interim_socket)

    def _apply(self, changes: Changes) -> None:
        reload = Run(DAEMON_RELOAD, "systemd reads the units")
        Installer(self.manifest, layout.app_scope(self.adoption.name), self.echo).apply((*changes, reload))

    def _remove(self, changes: Changes) -> None:
        """Apply changes that remove drop-ins, and remove their empty directories."""
        self._apply(changes)
        for directory in self.manifest.of(layout.app_scope(self.adoption.name), "kept directory"):
            path = Path(directory.name)
            if path.parent == layout.SYSTEMD and disk.remove_empty(path):
                self.manifest.forget(directory)

    def _check(self, address: str, name: str) -> None:
        """Wait for the number of consecutive healthy answers in the app's file. Raises HostError."""
        page, health, successes = self.adoption.page, self.adoption.app.health, 0
        end = time.monotonic() + health.deadline
        while successes < health.successes:
            if time.monotonic() > end:
                raise HostError(f"{name} does not answer {health.status} on {page} within {health.deadline:g} s")
            is_healthy = answers(address, page, health.host, health.timeout, health)
            successes = successes + 1 if is_healthy else 0
            time.sleep(_PAUSE_SECONDS)

    def _run(self, argv: tuple[str, ...], why: str) -> None:
        self.echo(f"+ {Run(argv, why)}")
        run(argv, seconds=_START_SECONDS)

    def _save(self, stage: Stage) -> None:
        self.adoption = state.save(self.adoption.model_copy(update={"stage": stage}))


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
    executor = AdoptionExecutor(host, manifest, adoption, echo)
    try:
        if adoption.stage is Stage.DONE:
            executor.serve_from_interim_unit()
        if adoption.stage is not Stage.DECIDED:
            executor.roll_back()
            echo(f"{again}; hookd's releases there stay")
    except (HostError, CommandFailed) as error:
        echo(f"the old process of {app.name} does not start, and nothing serves it: {error}")
        echo(f"  next: check {', '.join(str(change.path) for change in adoption.changes) or adoption.unit}")
    executor.close_public_socket()
    disk.remove(state.state_path(app.name))
    return adoption.interim_app
