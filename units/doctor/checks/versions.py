"""The programs hookd stands on, and two settings of the kernel that keep links from being used against root."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from units.doctor.context import HostContext
from units.doctor.finding import Finding, unknown, warning
from units.system.run import CommandFailed, run

GOOD: Final = "systemd, git and sudo are new enough, and the kernel protects links"
_SECONDS: Final = 5
Version = tuple[int, ...]
# systemd: the oldest that hookd's units were proved on. git: CVE-2024-32002, -32004, -32465 in repositories of others.
# sudo: the oldest that hookd's sudoers were proved on.
_OLDEST: Final[Mapping[str, Version]] = {"systemctl": (252,), "git": (2, 39, 4), "sudo": (1, 9, 13)}
_PACKAGE: Final = {"systemctl": "systemd"}
_LINK_SETTINGS: Final = ("protected_hardlinks", "protected_symlinks")
_KERNEL: Final = Path("/proc/sys/fs")


def check(_subject: HostContext) -> Iterator[Finding]:
    """Ask each program for its version, and the kernel for its settings."""
    for program, oldest in _OLDEST.items():
        try:
            printed = run((program, "--version"), seconds=_SECONDS)
        except CommandFailed as failed:
            yield warning(f"{program} does not say its version: {failed}", f"sudo apt-get install {_package(program)}")
            continue
        yield from check_version(program, printed, oldest)
    for name in _LINK_SETTINGS:
        yield from _check_link_protection(name)


def check_version(program: str, printed: str, oldest: Version) -> Iterator[Finding]:
    """Compare what a program says of itself with the oldest that will do."""
    found = re.search(r"\d+(?:\.\d+)*", printed)
    if found is None:
        yield unknown(f"{program} does not say its version: {printed[:80]}")
    elif tuple(int(part) for part in found[0].split(".")) < oldest:
        wanted = ".".join(map(str, oldest))
        newer = f"sudo apt-get install --only-upgrade {_package(program)}"
        yield warning(f"{_package(program)} is {found[0]}, and hookd needs {wanted} or newer", newer)


def _package(program: str) -> str:
    return _PACKAGE.get(program, program)


def _check_link_protection(name: str) -> Iterator[Finding]:
    try:
        value = (_KERNEL / name).read_text(encoding="ascii").strip()
    except OSError as failure:
        yield unknown(f"fs.{name} cannot be read: {failure.strerror}")
        return
    if value == "0":
        keep = f"echo fs.{name}=1 | sudo tee /etc/sysctl.d/60-hookd.conf && sudo sysctl -p /etc/sysctl.d/60-hookd.conf"
        yield warning(f"fs.{name} is off: a link in a shared directory can lead a program of root's astray", keep)
