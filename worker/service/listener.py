"""Find another user's process on the port on which an app's own command should listen."""

import pwd
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.model.app import App

_TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_LISTENS: Final = "0A"
_ANY: Final = ("0.0.0.0", "::")  # noqa: S104 - Nothing is bound to it.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def find_stranger(app: App) -> str | None:
    """Return a sentence about another user who listens on the address of an app's own command, or None.

    Any app may bind a port. A health check alone would take the answers of another one for those of the release.
    """
    address = app.service.own_address
    if address is None or not app.uses_systemd:
        return None
    host, _, port = address.rpartition(":")
    with suppress(KeyError, OSError):
        strangers = _listening_users(host.strip("[]"), int(port)) - {pwd.getpwnam(app.ownership.user).pw_uid}
        return f"{address} is held by another user: {_name(min(strangers))}" if strangers else None
    return None


def _listening_users(host: str, port: int) -> set[int]:
    """Return the users whose sockets take connections to an address, as proc_pid_net(5) lists them. Raises OSError."""
    reached = _LOOPBACK.get(host, host)
    mapped = () if ":" in reached else (f"::ffff:{reached}",)
    ends = {f"{_spelled(one)}:{port:04X}" for one in (reached, *mapped, *_ANY)}
    rows = [line.split() for table in _TABLES for line in table.read_text("ascii").splitlines()[1:]]
    return {int(row[7]) for row in rows if row[3] == _LISTENS and row[1] in ends}


def _spelled(host: str) -> str:
    """Return an address as the kernel prints it: words of four bytes in the host's order. Raises OSError."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
