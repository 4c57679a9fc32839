"""Finds by trying all files and sockets that a user or a service of a server can write, connect to and read."""

import json
from dataclasses import dataclass
from typing import Final

from tests.support.server.commands import PATH
from tests.support.server.machine import Machine

# The walk skips /proc and /sys, which contain themselves.
_SCRIPT: Final = """
import json, os, socket, stat, sys, tempfile

def opens(path, how):
    try:
        os.close(os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW))
    except OSError:
        return False
    return True

def takes_files(path):
    try:
        os.unlink(tempfile.mkstemp(dir=path)[1])
    except OSError:
        return False
    return True

def connects(path):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as one:
            one.settimeout(2)
            try:
                one.connect(path)
            except OSError:
                continue
            return True
    return False

found = {"directories": [], "files": [], "sockets": [], "devices": [], "readable": []}
below = tuple(sys.argv[1:])

def walk(path, known):
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        mine = takes_files(path)
        if mine and not known:
            found["directories"].append(path)
        try:
            names = os.listdir(path)
        except OSError:
            return
        for name in sorted(names):
            if (here := os.path.join(path, name)) not in ("/proc", "/sys"):
                walk(here, mine)
    elif stat.S_ISSOCK(status.st_mode):
        if connects(path):
            found["sockets"].append(path)
    elif stat.S_ISREG(status.st_mode):
        if not known and opens(path, os.O_WRONLY):
            found["files"].append(path)
        if path.startswith(below) and opens(path, os.O_RDONLY):
            found["readable"].append(path)
    elif opens(path, os.O_WRONLY):
        found["devices"].append(path)

walk("/", False)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Reach:
    """The findings: writable directories without their children, writable files elsewhere, and so on.

    `readable` are the readable files below the given places.
    """

    directories: set[str]
    files: set[str]
    sockets: set[str]
    devices: set[str]
    readable: set[str]


def of_user(machine: Machine, user: str, *below: str) -> Reach:
    """Return the reach of a user with a shell on the server."""
    return _reach(machine.run("python3", "-c", _SCRIPT, *below, user=user).stdout)


def of_service(machine: Machine, unit: str, *below: str) -> Reach:
    """Return the reach of a service with its user, groups, mounts and network, and without privileges."""
    pid = machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
    status = dict(line.split(":\t", 1) for line in machine.read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
    identity = (f"--reuid={status['Uid'].split()[0]}", f"--regid={status['Gid'].split()[0]}")
    groups = ",".join(status["Groups"].split())
    argv = (
        *("nsenter", f"--target={pid}", "--mount", "--net", "--ipc", "--"),
        *("setpriv", *identity, f"--groups={groups}", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"),
        *("env", "-i", f"PATH={PATH}", "python3", "-c", _SCRIPT, *below),
    )
    return _reach(machine.run(*argv).stdout)


def _reach(printed: str) -> Reach:
    return Reach(**{name: set(paths) for name, paths in json.loads(printed).items()})
