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
# Senders write one field; a body of nothing but `&` would fill the memory with the lists it is split into.
_MOST_FIELDS: Final = 16
_FIELD: Final = b"payload"
# Decoding a form needs it whole in memory; one at a time, however many arrive.
_one_form_at_a_time: Final = threading.Lock()


class _Socket(Protocol):
    def settimeout(self, value: float | None, /) -> None: ...


def most_seconds(length: int) -> float:
    """Tell how long a request with a body of `length` bytes may take to arrive."""
    return _BASE_SECONDS + length / _SLOWEST_BYTES_PER_SECOND


def receive(
    stream: IO[bytes], length: int, each: Callable[[bytes], None], sock: _Socket | None
) -> "SpooledTemporaryFile[bytes]":
    """Read `length` bytes, hand each piece to `each`, and return them all.

    Raises Refusal when the client stops early, falls silent for 5 s or is slower than a modem.
    """
    deadline = time.monotonic() + most_seconds(length)
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
        fields = body.read().split(b"&", _MOST_FIELDS)
        values = [value for name, _, value in (field.partition(b"=") for field in fields) if _is_payload(name)]
        if len(values) != 1 or len(fields) > _MOST_FIELDS:
            raise Refusal(400, "a form needs exactly one field named payload")
        return _decoded(values[0])


def _is_payload(name: bytes) -> bool:
    return len(name) <= 3 * len(_FIELD) and unquote_to_bytes(name) == _FIELD


def _decoded(text: bytes) -> bytes:
    """Undo the encoding of a form piece by piece: at once, the standard library takes eighty times the text's size."""
    decoded = bytearray()
    start = 0
    while start < len(text):
        end = start + PIECE
        escape = text.rfind(b"%", end - 2, end)
        end = escape if escape != -1 else end
        decoded += unquote_to_bytes(text[start:end].replace(b"+", b" "))
        start = end
    return bytes(decoded)


def socket_of(environ: dict[str, Any]) -> _Socket | None:
    """Find the connection's socket, which gunicorn passes along."""
    sock: _Socket | None = environ.get("gunicorn.socket")
    return sock
