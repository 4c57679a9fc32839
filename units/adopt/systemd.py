"""Units of an adoption: stops the interim ones, removes their directories, and waits for health."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hookd.http_probe import Address, NoAnswer, request_status
from hookd.model.app import Health
from units.adopt.state import Adoption
from units.plan.manifest import Manifest
from units.system import disk, layout
from units.system.errors import HostError
from units.system.run import run, succeeds

START_SECONDS: Final = 180
_PAUSE_SECONDS: Final = 0.1


def stop_interim_units(adoption: Adoption, *more: str) -> None:
    """Stop the interim unit, which finishes its requests, and the check socket. Raises CommandFailed.

    `more` units stop in the same command: an open socket would start the interim unit again.
    """
    interim, check = adoption.interim_unit, f"{adoption.unit}-check"
    names = (*more, f"{interim}.socket", f"{interim}.service", f"{check}.socket", f"{check}.service")
    present = [name for name in names if disk.status(layout.SYSTEMD / name) is not None]
    if present:
        run(("systemctl", "stop", *present), seconds=START_SECONDS)
        succeeds(("systemctl", "reset-failed", *present))
    disk.remove(adoption.interim_socket)


def close_public_socket(adoption: Adoption) -> None:
    """Stop the interim unit and the socket that hookd opened for visitors. Raises CommandFailed."""
    stop_interim_units(adoption, *(() if adoption.entrance == "socket" else (f"{adoption.unit}.socket",)))
    if adoption.entrance == "nginx":
        disk.remove(layout.SOCKETS / f"{adoption.name}.sock")


def remove_empty_directories(adoption: Adoption, manifest: Manifest) -> None:
    """Remove empty drop-in directories of the adoption."""
    for thing in manifest.of(layout.app_scope(adoption.name), "kept directory"):
        if Path(thing.name).parent == layout.SYSTEMD and disk.remove_empty(Path(thing.name)):
            manifest.forget(thing)


def is_active(unit: str) -> bool:
    """Return True if a unit is active."""
    return succeeds(("systemctl", "is-active", "--quiet", "--", unit))


def wait_until(condition: Callable[[], bool], failure: str, seconds: float) -> None:
    """Wait for a condition. Raises HostError with the text `failure` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HostError(f"{failure} within {seconds:g} s")
        time.sleep(_PAUSE_SECONDS)


def wait_until_healthy(address: Address, page: str, health: Health, name: str) -> None:
    """Wait for the number of consecutive healthy answers in the app's file. Raises HostError."""
    answers: list[bool] = []

    def is_healthy() -> bool:
        try:
            answers.append(request_status(address, page, health.host, health.timeout) == health.status)
        except (NoAnswer, OSError):
            answers.append(False)
        return answers[-health.successes :] == [True] * health.successes

    wait_until(is_healthy, f"{name} does not answer {health.status} on {page}", health.deadline)
