"""Operating system: its disks, its clock, the versions of its programs, and its protection against links."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hookd.files.ownership.repair import protection_command
from hookd.model.app import App
from hookd.model.tables.limits import Limits
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, unknown, warning
from units.system import layout
from units.system.facts import OLDEST_SYSTEMD
from units.system.run import CommandFailed, run
from units.system.systemd import ABSENT, is_booted

_MIB: Final = 1024 * 1024
# Redis and logs need little.
_SYSTEM_LIMITS: Final = Limits(free_mib=100, free_inodes=1000)
_SECONDS: Final = 5
Version = tuple[int, ...]
# systemd and sudo: the oldest versions tested. git: CVE-2024-32002, -32004, -32465 in repositories of others.
_OLDEST: Final[Mapping[str, Version]] = {"systemd": (OLDEST_SYSTEMD,), "git": (2, 39, 4), "sudo": (1, 9, 13)}
_PROGRAMS: Final = {"systemd": "systemctl"}
_LINK_SETTINGS: Final = ("protected_hardlinks", "protected_symlinks")
_KERNEL: Final = Path("/proc/sys/fs")
_CONTROLLERS: Final = Path("/sys/fs/cgroup/cgroup.controllers")
_LIMITS: Final = {"memory": "memory_max", "pids": "tasks_max"}
_BOOT_OPTIONS: Final = "systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory"


def check_clock(_context: HostContext) -> Iterator[Finding]:
    """Check the synchronisation of the clock."""
    if not is_booted():
        raise CannotCheck(ABSENT, "systemctl is-system-running")
    try:
        answer = run(("timedatectl", "show", "--property=NTPSynchronized", "--value"), seconds=_SECONDS).strip()
    except CommandFailed as failed:
        yield unknown(f"timedatectl gives no state of the clock: {failed.output}", "timedatectl status")
        return
    if answer == "yes":
        yield ok("the clock is set by the network")
    else:
        yield warning("the clock is not set by the network", "sudo timedatectl set-ntp true")


def check_versions(_context: HostContext) -> Iterator[Finding]:
    """Check the version of each program."""
    for package, oldest in _OLDEST.items():
        try:
            output = run((_PROGRAMS.get(package, package), "--version"), seconds=_SECONDS)
        except CommandFailed as failed:
            yield warning(f"{package} prints no version: {failed}", f"sudo apt-get install {package}")
            continue
        yield from check_version(package, output, oldest)


def check_kernel(_context: HostContext) -> Iterator[Finding]:
    """Check the kernel's link settings, and its control groups, which limit services."""
    found = _CONTROLLERS.read_text(encoding="ascii").split() if _CONTROLLERS.exists() else []
    if missing := [key for controller, key in _LIMITS.items() if controller not in found]:
        add = f"sudoedit /etc/default/grub  # GRUB_CMDLINE_LINUX: {_BOOT_OPTIONS}; then sudo update-grub && sudo reboot"
        yield warning(f"the kernel does not limit apps: {' and '.join(missing)} do not count", add)
    for name in _LINK_SETTINGS:
        setting = _KERNEL / name
        if setting.exists() and setting.read_text(encoding="ascii").strip() == "0":
            message = f"fs.{name} is off: links in shared directories can mislead root"
            yield warning(message, protection_command(name))


def check_version(package: str, output: str, oldest: Version) -> Iterator[Finding]:
    """Compare the version in the output of a program with the oldest supported one."""
    found = re.search(r"\d+(?:\.\d+)*", output)
    if found is None:
        yield unknown(f"{package} prints no version: {output[:80]}")
    elif tuple(int(part) for part in found[0].split(".")) < oldest:
        required = ".".join(map(str, oldest))
        upgrade = f"sudo apt-get install --only-upgrade {package}"
        yield warning(f"{package} is {found[0]}, hookd needs {required} or newer", upgrade)


def check_space(context: HostContext) -> Iterator[Finding]:
    """Check the disks of hookd's own directories."""
    largest = max((app.limits for app in context.apps), key=lambda limits: limits.free_mib, default=Limits())
    yield from check_free_space(context.settings.state, largest)
    for path in filter(None, (context.settings.logs, layout.REDIS_STATE)):
        yield from check_free_space(path, _SYSTEM_LIMITS)


def check_app_space(_context: HostContext, app: App) -> Iterator[Finding]:
    """Check the disks of an app's directories."""
    for path in {app.root, app.data_root if app.shared.directories else app.root}:
        yield from check_free_space(path, app.limits)


def check_free_space(path: Path, limits: Limits) -> Iterator[Finding]:
    """Report an error below the limit, and a warning below twice the limit."""
    found = _statvfs(path)
    mib = found.f_bavail * found.f_frsize // _MIB
    amounts = [(mib, limits.free_mib, "MiB", "du -xh")]
    if found.f_files:  # Some file systems have no limit for inodes.
        amounts.append((found.f_favail, limits.free_inodes, "inodes", "du -x --inodes"))
    low = [amount for amount in amounts if amount[0] < 2 * amount[1]]
    for free, limit, unit, usage in low:
        message, hint = f"{path} has {free} {unit} free, {limit} are required", f"sudo {usage} --max-depth=3 {path}"
        yield (error if free < limit else warning)(message, f"{hint} | sort -h | tail")
    if not low:
        yield ok(f"{path} has {mib} MiB free")


def _statvfs(path: Path) -> os.statvfs_result:
    """Return the state of the file system of a path, or of its nearest parent that exists and can be opened."""
    try:
        return os.statvfs(path)
    except (FileNotFoundError, PermissionError):
        return _statvfs(path.parent)
