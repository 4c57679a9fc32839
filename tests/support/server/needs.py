"""The programs that servers need, their installation, and a trial."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.server import control_groups
from tests.support.server.places import locked, workplace
from tests.support.server.room import room, way_out

_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
}


def can_boot() -> str | None:
    """Return one line with the reason why no server can boot here, or None."""
    if sys.platform != "linux":
        return "servers need Linux"
    if os.geteuid() != 0:
        return "servers need root"
    return _missing_programs() or _try()


def install_packages(*packages: str) -> str | None:
    """Install Debian packages, as `./run` does. Return one line with the reason of a failure, or None."""
    if not shutil.which("apt-get"):
        return f"missing, and no apt-get to install them: {' '.join(packages)}"
    install = ("install", "-y", "-q", "--no-install-recommends", *packages)
    with locked("packages"):  # apt-get waits for another installation, but not for an update.
        if _apt(*install) and (_apt("update", "-q") or _apt(*install)):
            return f"apt-get could not install {' '.join(packages)}"
    return None


def _missing_programs() -> str | None:
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    # On Ubuntu the keys of Debian's archive are a separate package.
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.add("debian-archive-keyring")
    return install_packages(*sorted(missing)) if missing else None


def _apt(*arguments: str) -> int:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    argv = ("apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments)
    return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, env=env, check=False).returncode


def _try() -> str | None:
    """Try everything that a machine needs: namespaces, a network, a control group, an overlay."""
    try:
        with workplace() as directory, room() as opened, way_out(opened):
            layers = [directory / name for name in ("lower", "upper", "work", "root")]
            for layer in layers:
                layer.mkdir()
            lower, upper, work, root = layers
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            opened.call("mount", "-t", "overlay", "overlay", "-o", options, str(root))
            control_groups.mount(opened)
            group = control_groups.make(opened.root / "sys/fs/cgroup", f"hookd-{directory.name}")
            control_groups.remove(group)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"servers cannot be booted here: {' '.join(str(error).split())}"
    return None
