"""Takes in a request's body in small pieces and in bounded time; what is large and not yet verified waits on disk."""

import threading
import time
from collections.abc import Callable
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from hookd.refusals import Refusal

PIECE: Final = 64 * 1024
_IN_MEMORY: Final = 256 * 1024
_SILENCE_SECONDS: Final = 5.0
_BASE_SECONDS: Final = 10.0
_SLOWEST_BYTES_PER_SECOND: Final = 256 * 1024
# Decoding a form needs it whole in memory; one at a time, however many arrive.
_one_form_at_a_time: Final = threading.Lock()


class _Socket(Protocol):
    def settimeout(self, seconds: float | None) -> None: ...


def receive(
    stream: IO[bytes], length: int, each: Callable[[bytes], None], sock: _Socket | None
) -> "SpooledTemporaryFile[bytes]":
    """Read `length` bytes, hand each piece to `each`, and return them all.

    Raises Refusal when the client stops early, falls silent for 5 s or is slower than a modem.
    """
    deadline = time.monotonic() + _BASE_SECONDS + length / _SLOWEST_BYTES_PER_SECOND
    spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)
    if sock is not None:
        sock.settimeout(_SILENCE_SECONDS)
    missing = length
    while missing:
        piece = _read(stream, min(PIECE, missing))
        if not piece or time.monotonic() > deadline:
            spool.close()
            raise Refusal(408, "the body did not arrive in time")
        each(piece)
        spool.write(piece)
        missing -= len(piece)
    spool.seek(0)
    return spool


def _read(stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError:  # A silent or vanished client: gunicorn passes on what the socket raised.
        return b""


def form_value(body: IO[bytes]) -> bytes:
    """Return the decoded `payload` of a form, as bytes: what Gitea and its kin sign.

    Raises Refusal when there is not exactly one.
    """
    with _one_form_at_a_time:
        fields = [field.partition(b"=") for field in body.read().split(b"&")]
        values = [value for name, _, value in fields if unquote_to_bytes(name.replace(b"+", b" ")) == b"payload"]
        if len(values) != 1:
            raise Refusal(400, "a form needs exactly one field named payload")
        return unquote_to_bytes(values[0].replace(b"+", b" "))


def socket_of(environ: dict[str, Any]) -> _Socket | None:
    """Find the connection's socket, which gunicorn passes along."""
    sock: _Socket | None = environ.get("gunicorn.socket")
    return sock
