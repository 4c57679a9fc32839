"""A separate room for a server: namespaces for network, mounts and processes, which end with one process.

After any end of this process a pipe closes, the first process of the room ends, and the kernel ends all others and
undoes the mounts. The room has its own network, so that no port clashes with the host or another machine. With
slirp4netns programs inside reach everything that the host can reach, without a packet filter on the host.
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
_MEMORY_KB = 6_000_000
_NAMESPACES = ("--net", "--mount", "--pid")


class Room:
    """Open namespaces. `root` is their file tree, which ends with them."""

    def __init__(self, holder: "subprocess.Popen[bytes]") -> None:
        self._holder = holder
        self.pid = children(holder.pid)[0]
        self.root = Path(f"/proc/{self.pid}/root")

    def enter(self, *argv: str) -> tuple[str, ...]:
        """Build the command line that runs a program of the host in this room."""
        return ("nsenter", f"--target={self.pid}", *_NAMESPACES, "--", *argv)

    def call(self, *argv: str) -> str:
        """Run a program of the host in this room and return its output. Fail the test on an error."""
        done = subprocess.run(self.enter(*argv), capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def use_memory(self, directory: Path) -> None:
        """Keep a directory of this room in memory, unless the host has little: a disk needs a minute to delete it."""
        lines = Path("/proc/meminfo").read_text().splitlines()
        (available,) = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        if available > _MEMORY_KB:
            self.call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(directory))

    def socket(self) -> socket.socket:
        """Return a TCP socket in this room's network."""
        with _in_network(self.pid):
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


@contextmanager
def room() -> Iterator[Room]:
    """Open a room during the block."""
    argv = ("unshare", *_NAMESPACES, "--propagation=private", "--fork", "--kill-child", "--mount-proc", "cat")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as holder:
        try:
            _wait_for_echo(holder)
            opened = Room(holder)
            opened.call("ip", "link", "set", "lo", "up")
            yield opened
        finally:
            holder.communicate(timeout=_SECONDS)


@contextmanager
def way_out(opened: Room) -> Iterator[None]:
    """Connect the room's programs to the host's network during the block."""
    ready, ready_writer = os.pipe()
    exit_reader, exit_writer = os.pipe()
    # slirp4netns uses the host's resolver and sockets, so it runs outside.
    options = ("--configure", "--mtu=65520", f"--ready-fd={ready_writer}", f"--exit-fd={exit_reader}")
    argv = ("slirp4netns", *options, str(opened.pid), "tap0")
    process = subprocess.Popen(
        argv, pass_fds=(ready_writer, exit_reader), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    os.close(ready_writer)
    os.close(exit_reader)
    try:
        if not os.read(ready, 1):
            raise AssertionError(f"slirp4netns: {process.communicate()[1].decode()}")
        yield
    finally:
        os.close(ready)
        os.close(exit_writer)
        process.communicate(timeout=_SECONDS)


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _wait_for_echo(holder: "subprocess.Popen[bytes]") -> None:
    """Wait for an echo, which proves that the namespaces exist."""
    assert holder.stdin and holder.stdout
    holder.stdin.write(b"hello\n")
    holder.stdin.flush()
    if holder.stdout.readline() != b"hello\n":
        raise AssertionError("unshare could not make namespaces")


@contextmanager
def _in_network(pid: int) -> Iterator[None]:
    """Put only this thread into a process's network during the block (setns(2), in Python from 3.12)."""
    with Path("/proc/thread-self/ns/net").open() as mine, Path(f"/proc/{pid}/ns/net").open() as theirs:
        _setns(theirs.fileno())
        try:
            yield
        finally:
            _setns(mine.fileno())


def _setns(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
