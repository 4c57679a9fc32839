"""A hostile program: tries what no phase of a deployment may do, and prints the names of what worked as JSON.

`python attack.py PHASE OTHER` runs inside of a build, a check or a release command of the app `shop`. OTHER is another
app of the host.
"""

import ctypes
import json
import os
import pwd
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PHASE, _OTHER = (*sys.argv[1:3], "", "")[:2]
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000


def read(path: str) -> None:
    """Read a file, or list a directory that is not empty."""
    found = os.listdir(path) if os.path.isdir(path) else Path(path).read_bytes()
    if not found:
        raise OSError("nothing to see")


def write(path: str) -> None:
    """Write a file, or into a directory."""
    if os.path.isdir(path):
        path = f"{path}/attacked"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK)
    os.write(descriptor, b"#\n")
    os.close(descriptor)


def write_below(top: str) -> None:
    """Write any file below a directory, with its own text."""
    for above, _, names in os.walk(top):
        if any(_works(write_again, f"{above}/{name}") for name in names):
            return
    raise OSError("none")


def write_again(path: str) -> None:
    """Write a file's own text into it."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(descriptor, os.read(descriptor, 4096))
    finally:
        os.close(descriptor)


def connect_below(top: str) -> None:
    """Connect to any socket below a directory."""
    for above, _, names in os.walk(top):
        if any(_works(connect, f"{above}/{name}") for name in names):
            return
    raise OSError("none")


def connect(path: str) -> None:
    """Connect to a socket."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(2)
        one.connect(path)


def run(*argv: str) -> None:
    """Run a program that must print something."""
    done = subprocess.run(argv, capture_output=True, timeout=20, check=True)
    if not done.stdout.strip():
        raise OSError("it printed nothing")


def targets() -> list[int]:
    """Return the processes of hookd and of the other app, as their numbers are on the host."""
    return [int(pid) for pid in Path("targets").read_text().split()]


def signal_others() -> None:
    """Signal at least one target."""
    if not any(_works(lambda pid: os.kill(pid, 0), pid) for pid in targets()):
        raise OSError("nobody")


def limit_others() -> None:
    """Reach the limits of at least one target."""
    if not any(_works(lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE), pid) for pid in targets()):
        raise OSError("nobody")


def _works(do: Callable[[Any], object], target: object) -> bool:
    try:
        do(target)
    except OSError:
        return False
    return True


def _group(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cgroup").read_text()
    except OSError:
        return ""


def spy(what: str) -> None:
    """Read something of a foreign process in /proc."""
    own = _group("self")
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _group(process.name) not in ("", own):
            (process / what).read_bytes()
            return
    raise OSError("nobody")


def unshare() -> None:
    """Become root of a user namespace."""
    if _LIBC.unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")


def mount() -> None:
    """Mount a file system."""
    if _LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")


def become(user: int) -> None:
    """Become another user."""
    pid = os.fork()
    if not pid:
        try:
            os.setuid(user)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        raise OSError("refused")


ATTACKS: dict[str, Callable[[], object]] = {
    # Other apps
    "read another app's code": lambda: read(f"/srv/{_OTHER}/current/wsgi.py"),
    "list another app's releases": lambda: read(f"/srv/{_OTHER}/releases"),
    "read another app's data": lambda: read(f"/var/lib/{_OTHER}/logs/app.log"),
    "read another app's variables": lambda: read(f"/etc/hookd/env/{_OTHER}"),
    "read another app's logs of deployments": lambda: read(f"/var/log/hookd/{_OTHER}"),
    "write another app's code": lambda: write(f"/srv/{_OTHER}/current/wsgi.py"),
    "write another app's environments": lambda: write(f"/srv/{_OTHER}/venvs"),
    "write another app's data": lambda: write(f"/var/lib/{_OTHER}/logs"),
    "write another app's caches": lambda: write(f"/var/cache/hookd-build/{_OTHER}"),
    "connect to another app": lambda: connect(f"/run/hookd-apps/{_OTHER}.sock"),
    "print into another app's log": lambda: write(f"/run/hookd-phases/{_OTHER}"),
    "give another app's build commands": lambda: write(f"/run/hookd-phases/{_OTHER}.plan"),
    # hookd
    "read a deploy key": lambda: read("/var/lib/hookd/keys/shop"),
    "read another deploy key": lambda: read(f"/var/lib/hookd/keys/{_OTHER}"),
    "read a mirror": lambda: read("/var/lib/hookd/mirrors"),
    "read a journal": lambda: read("/var/lib/hookd/journals/shop.jsonl"),
    "write a journal": lambda: write("/var/lib/hookd/journals/shop.jsonl"),
    "read a webhook secret": lambda: read("/etc/hookd/secrets/shop"),
    "read a password of Redis": lambda: read("/etc/hookd/redis/worker"),
    "read the worker's variables": lambda: read("/etc/hookd/worker.env"),
    "connect to Redis": lambda: connect("/run/hookd-redis/redis.sock"),
    "connect to the receiver": lambda: connect("/run/hookd/receiver.sock"),
    "connect to the system's bus": lambda: connect("/run/dbus/system_bus_socket"),
    "connect to systemd": lambda: connect("/run/systemd/private"),
    "write hookd's code": lambda: write("/opt/hookd/current/code/worker/job.py"),
    "write the catalogue": lambda: write("/etc/hookd/apps/shop.toml"),
    # The host
    "use sudo": lambda: run("sudo", "-n", "-l"),
    "restart a service": lambda: run("sudo", "-n", "systemctl", "restart", "shop-blue.service"),
    "read the system's journal": lambda: run(
        "journalctl", "--no-pager", "--lines=1", "--output=cat", "--unit=hookd.service"
    ),
    "read passwords": lambda: read("/etc/shadow"),
    "write a unit": lambda: write("/etc/systemd/system"),
    "become root": lambda: become(0),
    "become the worker": lambda: become(pwd.getpwnam("manager").pw_uid),
    "make a user namespace": unshare,
    "mount": mount,
    "change a kernel setting": lambda: write_below("/proc/sys"),
    "change a control group": lambda: write_below("/sys/fs/cgroup"),
    # Processes
    "signal others": signal_others,
    "limit others": limit_others,
    "read others' variables": lambda: spy("environ"),
    "read others' memory maps": lambda: spy("maps"),
    # The app's own past
    "write the release that serves": lambda: write(os.path.realpath("/srv/shop/current") + "/wsgi.py"),
    "write an older environment": lambda: write(os.path.realpath("/srv/shop/current/venv") + "/bin/gunicorn"),
    "make a release": lambda: os.mkdir("/srv/shop/releases/000999-aaaaaaaaaaaa"),
    "move the link that serves": lambda: os.rename("/srv/shop/current", "/srv/shop/old"),
}
# Only a build must not see these. They are the service's own.
BUILD_ONLY: dict[str, Callable[[], object]] = {
    "connect to a service of the host": lambda: connect_below("/run"),
    "read the service's variables": lambda: read("/etc/hookd/env/shop"),
    "read the app's data": lambda: read("/var/lib/shop/uploads/kept"),
    "read a shared file": lambda: read("/srv/shop/shared/.env"),
    "read a shared file by its link": lambda: read(".env"),
    "see the service's variable": lambda: (
        read("/proc/self/environ") if "SHOP_TOKEN" in os.environ else os.listdir("/x")
    ),
}


def main() -> None:
    """Try everything, and leave a daemon behind."""
    attacks = {**ATTACKS, **(BUILD_ONLY if _PHASE == "build" else {})}
    worked = []
    for name, attack in attacks.items():
        try:
            attack()
        except (OSError, subprocess.SubprocessError):
            continue
        worked.append(name)
    print(json.dumps({"phase": _PHASE, "tried": len(attacks), "worked": worked}), flush=True)
    subprocess.Popen(["sleep", "4321"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


if __name__ == "__main__":
    main()
