"""Listening sockets, children and command line of a process, read from /proc."""

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LISTEN_STATE: Final = "0A"
_ACCEPT_FLAG: Final = 0x10000
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True)
class Listener:
    """A host and a port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listeners(process: int) -> tuple[Listener, ...]:
    """Return all listening sockets of a process, except gunicorn's control socket."""
    inodes = set(_inodes(process))
    place = _PROC / str(process) / "net"
    found = {**_tcp(place / "tcp", socket.AF_INET), **_tcp(place / "tcp6", socket.AF_INET6), **_unix(place / "unix")}
    own = {one for inode, one in found.items() if inode in inodes and not one.path.endswith(".ctl")}
    return tuple(sorted(own, key=str))


def children(process: int) -> tuple[int, ...]:
    """Return the running child processes."""
    with suppress(OSError):
        return tuple(map(int, (_PROC / f"{process}/task/{process}/children").read_text(encoding="ascii").split()))
    return ()


def command_line(process: int) -> tuple[str, ...]:
    """Return the command line of a process, or an empty one if it ended."""
    with suppress(OSError):
        content = (_PROC / str(process) / "cmdline").read_bytes().decode(errors="replace")
        return tuple(content.rstrip("\0").split("\0"))
    return ()


def _inodes(process: int) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in (_PROC / str(process) / "fd").iterdir():
            with suppress(OSError):
                if found := _SOCKET.fullmatch(os.readlink(descriptor)):
                    yield found[1]


def _tcp(table: Path, family: int) -> dict[str, Listener]:
    rows = (line.split() for line in _lines(table))
    return {row[9]: _address(row[1], family) for row in rows if row[3] == _LISTEN_STATE}


def _address(text: str, family: int) -> Listener:
    """Parse an address of the kernel, which prints each 32 bits in the machine's byte order."""
    host, port = text.split(":")
    words = (int(host[place : place + 8], 16) for place in range(0, len(host), 8))
    packed = b"".join(struct.pack("=I", word) for word in words)
    return Listener(host=socket.inet_ntop(family, packed), port=int(port, 16))


def _unix(table: Path) -> dict[str, Listener]:
    rows = (line.split(maxsplit=7) for line in _lines(table))
    return {row[6]: Listener(path=row[7]) for row in rows if len(row) > 7 and int(row[3], 16) & _ACCEPT_FLAG}


def _lines(table: Path) -> list[str]:
    with suppress(OSError):
        return table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()[1:]
    return []
