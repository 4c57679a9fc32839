"""Operating system: its clock, the versions of its programs, and its protection against links."""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from units.doctor.context import HostContext
from units.doctor.finding import Finding, ok, unknown, warning
from units.system import disk
from units.system.run import CommandFailed, run

_SECONDS: Final = 5
_TOLERATED_SECONDS: Final = 60
Version = tuple[int, ...]
# systemd and sudo: the oldest versions tested. git: CVE-2024-32002, -32004, -32465 in repositories of others.
_OLDEST: Final[Mapping[str, Version]] = {"systemctl": (252,), "git": (2, 39, 4), "sudo": (1, 9, 13)}
_PACKAGE: Final = {"systemctl": "systemd"}
_LINK_SETTINGS: Final = ("protected_hardlinks", "protected_symlinks")
_KERNEL: Final = Path("/proc/sys/fs")


def check_clock(context: HostContext) -> Iterator[Finding]:
    """Check the synchronisation of the clock and the times of hookd's files."""
    yield from _check_synchronisation()
    for directory in (context.path.parent, context.settings.state / "journals"):
        yield from check_future_files(directory, context.now)


def _check_synchronisation() -> Iterator[Finding]:
    try:
        answer = run(("timedatectl", "show", "--property=NTPSynchronized", "--value"), seconds=_SECONDS).strip()
    except CommandFailed as failed:
        yield unknown(f"timedatectl gives no state of the clock: {failed.output}", "timedatectl status")
        return
    if answer == "yes":
        yield ok("the clock is set by the network")
    else:
        enable = "sudo timedatectl set-ntp true (package systemd-timesyncd)"
        yield warning("the clock is not set by the network", enable)


def check_future_files(directory: Path, now: datetime) -> Iterator[Finding]:
    """Report the latest file of a directory if it is from the future."""
    try:
        with disk.open_parent(directory) as descriptor, os.scandir(descriptor) as entries:
            found = [(entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in entries]
    except FileNotFoundError:
        return
    latest, name = max(found, default=(0.0, ""))
    if latest > now.timestamp() + _TOLERATED_SECONDS:
        hours = (latest - now.timestamp()) / 3600
        yield warning(f"{directory / name} was written {hours:.1f} h in the future", "timedatectl status")


def check_versions(_context: HostContext) -> Iterator[Finding]:
    """Check the version of each program and the kernel's link settings."""
    for program, oldest in _OLDEST.items():
        try:
            output = run((program, "--version"), seconds=_SECONDS)
        except CommandFailed as failed:
            yield warning(f"{program} prints no version: {failed}", f"sudo apt-get install {_package(program)}")
            continue
        yield from check_version(program, output, oldest)
    for name in _LINK_SETTINGS:
        yield from _check_link_protection(name)


def check_version(program: str, output: str, oldest: Version) -> Iterator[Finding]:
    """Compare the version in the output of a program with the oldest supported one."""
    found = re.search(r"\d+(?:\.\d+)*", output)
    if found is None:
        yield unknown(f"{program} prints no version: {output[:80]}")
    elif tuple(int(part) for part in found[0].split(".")) < oldest:
        required = ".".join(map(str, oldest))
        upgrade = f"sudo apt-get install --only-upgrade {_package(program)}"
        yield warning(f"{_package(program)} is {found[0]}, hookd needs {required} or newer", upgrade)


def _package(program: str) -> str:
    return _PACKAGE.get(program, program)


def _check_link_protection(name: str) -> Iterator[Finding]:
    try:
        value = (_KERNEL / name).read_text(encoding="ascii").strip()
    except OSError as failure:
        yield unknown(f"fs.{name} cannot be read: {failure.strerror}")
        return
    if value == "0":
        set_it = (
            f"echo fs.{name}=1 | sudo tee /etc/sysctl.d/60-hookd.conf && sudo sysctl -p /etc/sysctl.d/60-hookd.conf"
        )
        yield warning(f"fs.{name} is off: links in shared directories can mislead root", set_it)
