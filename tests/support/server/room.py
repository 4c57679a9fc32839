"""A room of its own for a server: namespaces for network, mounts and processes, which vanish with one process.

When this process ends in whatever way, a pipe closes, the first process of the room ends, and the kernel ends all
others and undoes the mounts. The room's network is its own, so that machines do not meet each other or the host's
programs on a port; slirp4netns lets programs inside reach what the host can reach, without a packet filter on the host.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SECONDS = 20
_NAMESPACES = ("--net", "--mount", "--pid")


class Room:
    """Namespaces that are held open; `root` is its file tree, and goes with it."""

    def __init__(self, holder: "subprocess.Popen[bytes]") -> None:
        self._holder = holder
        self.pid = children(holder.pid)[0]
        self.root = Path(f"/proc/{self.pid}/root")

    def enter(self, *argv: str) -> tuple[str, ...]:
        """The command line that runs a program of the host in this room."""
        return ("nsenter", f"--target={self.pid}", *_NAMESPACES, "--", *argv)

    def call(self, *argv: str) -> str:
        """Run a program of the host in this room and return what it printed; fails the test when it fails."""
        done = subprocess.run(self.enter(*argv), capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def socket(self) -> socket.socket:
        """A TCP socket in this room's network."""
        with _in_network(self.pid):
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


@contextmanager
def room() -> Iterator[Room]:
    """Open a room for as long as the block."""
    argv = ("unshare", *_NAMESPACES, "--propagation=private", "--fork", "--kill-child", "--mount-proc", "cat")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as holder:
        try:
            _greet(holder)
            opened = Room(holder)
            opened.call("ip", "link", "set", "lo", "up")
            yield opened
        finally:
            holder.communicate(timeout=_SECONDS)


@contextmanager
def way_out(opened: Room) -> Iterator[None]:
    """Let programs of the room reach what the host can reach, for as long as the block."""
    ready, tell = os.pipe()
    leave, left = os.pipe()
    # It asks names of the host's resolver and connects with the host's sockets, so it stays outside.
    options = ("--configure", "--mtu=65520", f"--ready-fd={tell}", f"--exit-fd={leave}")
    argv = ("slirp4netns", *options, str(opened.pid), "tap0")
    process = subprocess.Popen(argv, pass_fds=(tell, leave), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.close(tell)
    os.close(leave)
    try:
        if not os.read(ready, 1):
            raise AssertionError(f"slirp4netns: {process.communicate()[1].decode()}")
        yield
    finally:
        os.close(ready)
        os.close(left)
        process.communicate(timeout=_SECONDS)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _greet(holder: "subprocess.Popen[bytes]") -> None:
    """When the word comes back, the namespaces are there."""
    assert holder.stdin and holder.stdout
    holder.stdin.write(b"hello\n")
    holder.stdin.flush()
    if holder.stdout.readline() != b"hello\n":
        raise AssertionError("unshare could not make namespaces")


@contextmanager
def _in_network(pid: int) -> Iterator[None]:
    """Put this thread, and no other, into a process's network for the block (setns(2); Python has it from 3.12)."""
    with Path("/proc/thread-self/ns/net").open() as mine, Path(f"/proc/{pid}/ns/net").open() as theirs:
        _setns(theirs.fileno())
        try:
            yield
        finally:
            _setns(mine.fileno())


def _setns(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
