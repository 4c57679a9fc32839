"""Takes in a request's body in small pieces and in bounded time; what is large and not yet verified waits on disk."""

import time
from collections.abc import Callable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from hookd.refusals import Refusal

PIECE: Final = 64 * 1024
# What is decoded takes many times its size for a moment, in each thread.
FORM_PIECE: Final = 16 * 1024
_IN_MEMORY: Final = 256 * 1024
_SILENCE_SECONDS: Final = 5.0
_BASE_SECONDS: Final = 10.0
_SLOWEST_BYTES_PER_SECOND: Final = 256 * 1024
_FIELD: Final = b"payload="


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


def form_pieces(body: IO[bytes]) -> Iterator[bytes]:
    """Decode the `payload` of a form, as bytes and piece by piece: what Gitea and its kin sign.

    A form that is not verified yet is never held whole, since decoded at once it takes eighty times its size. Senders
    write this one field and no other. Raises Refusal for every other form.
    """
    body.seek(0)
    fits = body.read(len(_FIELD)) == _FIELD
    rest = b""
    while fits and (piece := body.read(FORM_PIECE)):
        fits = b"&" not in piece
        text = rest + piece
        escape = text.rfind(b"%", -2)
        end = escape if escape != -1 else len(text)
        text, rest = text[:end], text[end:]
        yield _decoded(text)
    if not fits:
        raise Refusal(400, "a form needs exactly one field, named payload")
    yield _decoded(rest)


def form_value(body: IO[bytes]) -> bytes:
    """Return the whole decoded `payload` of a verified form; raises Refusal as `form_pieces` does."""
    return b"".join(form_pieces(body))


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def socket_of(environ: dict[str, Any]) -> _Socket | None:
    """Find the connection's socket, which gunicorn passes along."""
    sock: _Socket | None = environ.get("gunicorn.socket")
    return sock
