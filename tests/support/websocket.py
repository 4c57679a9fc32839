"""A WebSocket client of few lines, RFC 6455: the handshake and short text frames."""

import base64
import hashlib
import os
import socket
from types import TracebackType

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    """A connection over an open socket. `status` is the status of the handshake's answer, 101 for success."""

    def __init__(self, connection: socket.socket, host: str, path: str) -> None:
        self._connection = connection
        self._read = connection.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.status = int(self._read.readline().split()[1])
        self.headers = dict(line.decode().rstrip().split(": ", 1) for line in iter(self._read.readline, b"\r\n"))
        accept = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()
        assert self.status != 101 or self.headers["Sec-WebSocket-Accept"] == accept

    def send(self, text: str) -> None:
        """Send a text of at most 125 bytes."""
        mask, data = os.urandom(4), text.encode()
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._connection.sendall(bytes((0x81, 0x80 | len(data))) + mask + masked)

    def receive(self) -> str:
        """Return the next text, or "" at the end of the connection."""
        head = self._read.read(2)
        if len(head) < 2 or head[0] & 0x0F == 0x08:
            return ""
        return self._read.read(head[1] & 0x7F).decode()

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read.close()
        self._connection.close()
