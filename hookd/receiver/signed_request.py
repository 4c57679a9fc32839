"""Reads a request's body and checks its signature. Unsigned bytes are never parsed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from flask import Request

from hookd.credentials import Secret
from hookd.model.app import App
from hookd.receiver.errors import BadSignature, Refusal, SignatureCheck
from hookd.receiver.senders import SENDERS, Sender
from hookd.receiver.signatures import Verifier

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
PIECE_BYTES: Final = 64 * 1024
# Decoding needs many times the size of its input for a moment, in each thread.
FORM_PIECE_BYTES: Final = 16 * 1024
_IN_MEMORY_BYTES: Final = 256 * 1024
_SILENCE_SECONDS: Final = 5.0
_BASE_SECONDS: Final = 10.0
_MIN_BYTES_PER_SECOND: Final = 256 * 1024
_FIELD: Final = b"payload="
# A fork also sends the headers of the host it came from: the youngest host first.
_HOSTS: Final = ("forgejo", "gitea", "gogs", "github")


@dataclass(frozen=True)
class Claim:
    """The app that a request names in its path, with its sender and secrets."""

    name: str
    app: App | None
    sender: Sender
    secrets: tuple[Secret, ...]


@dataclass(frozen=True)
class SignedBody:
    """A body with a valid signature. The caller closes it."""

    app: App
    body: IO[bytes]


class _Socket(Protocol):
    def settimeout(self, value: float | None, /) -> None: ...


def signed_body(request: Request, claim: Claim, max_bytes: int) -> SignedBody:
    """Read the body and return it if its signature is valid.

    Raises BadSignature, and Refusal for a body that is too long, too slow or of unknown length.
    """
    length = _length(request, max_bytes)
    verifier = Verifier(claim.secrets)
    signs_value = request.mimetype == FORM and claim.sender.signs_form_value
    on_piece: Callable[[bytes], None] = (lambda _: None) if signs_value else verifier.update
    raw = read_body(request.environ["wsgi.input"], length, on_piece, socket_of(request.environ))
    digest = claim.sender.digest(request.headers)
    is_signable = digest is None or not signs_value or _update_with_form(verifier, raw)
    if verifier.accepts(digest) and is_signable and claim.app is not None:
        return SignedBody(claim.app, raw)
    raw.close()
    raise _bad_signature(request, claim, has_digest=digest is not None, is_signable=is_signable)


def payload_of(request: Request, raw: IO[bytes]) -> bytes:
    """Return the JSON of a verified body. Raises Refusal for other content types."""
    if request.mimetype == JSON:
        return raw.read()
    if request.mimetype == FORM:
        return form_value(raw)
    raise Refusal(415, f"the content type must be {JSON} or {FORM}")


def _length(request: Request, max_bytes: int) -> int:
    length = request.content_length
    if length is None or "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(411, "a Content-Length is required")
    if length > max_bytes:
        raise Refusal(413, f"a body has at most {max_bytes} bytes")
    return length


def _update_with_form(verifier: Verifier, raw: IO[bytes]) -> bool:
    """Add a form's decoded payload to the verifier. Returns False for a form that no sender sends."""
    try:
        for piece in form_pieces(raw):
            verifier.update(piece)
    except Refusal:
        return False
    return True


def _bad_signature(request: Request, claim: Claim, *, has_digest: bool, is_signable: bool) -> BadSignature:
    """Name the failed check for the operator. The caller's answer is always the same."""
    app, sender, header = claim.app, claim.sender, claim.sender.signature
    if app is None:
        return BadSignature(SignatureCheck.APP, f"no app is called {ascii(claim.name)[:80]}")
    if header not in request.headers:
        detail = f"the header {header} is missing, {_missing_header_hint(request, app)}"
        return BadSignature(SignatureCheck.HEADER, detail)
    if not has_digest:
        shape = f"{sender.prefix} and 64" if sender.prefix else "64"
        return BadSignature(SignatureCheck.SHAPE, f"{header} is not {shape} lower-case hexadecimal digits")
    if not is_signable:
        return BadSignature(SignatureCheck.FORM, f"{app.sender} signs forms with one field, named payload")
    return BadSignature(SignatureCheck.DIGEST, f"{header} matches none of the app's secrets")


def _missing_header_hint(request: Request, app: App) -> str:
    """Name another host's header if there is one: the app's file often names the wrong sender."""
    for host in _HOSTS:
        other = SENDERS[host].signature
        if other in request.headers:
            return f"{other} is there: is sender = {app.sender!r} right, or is it {host!r}?"
    return "has the webhook a secret?"


def max_seconds(length: int) -> float:
    """Return the time limit for receiving a request with a body of `length` bytes."""
    return _BASE_SECONDS + length / _MIN_BYTES_PER_SECOND


def read_body(
    stream: IO[bytes], length: int, on_piece: Callable[[bytes], None], sock: _Socket | None
) -> "SpooledTemporaryFile[bytes]":
    """Read `length` bytes and return them. Calls `on_piece` with each piece.

    Raises Refusal if the client stops early, is silent for 5 s, or sends fewer than 256 KiB/s after the first 10 s.
    """
    deadline = time.monotonic() + max_seconds(length)
    spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)
    if sock is not None:
        sock.settimeout(_SILENCE_SECONDS)
    missing = length
    while missing:
        piece = _read(stream, min(PIECE_BYTES, missing))
        if not piece or time.monotonic() > deadline:
            spool.close()
            raise Refusal(408, "the body did not arrive in time")
        on_piece(piece)
        spool.write(piece)
        missing -= len(piece)
    spool.seek(0)
    return spool


def _read(stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError:  # gunicorn passes on the socket's timeout or reset.
        return b""


def form_pieces(body: IO[bytes]) -> Iterator[bytes]:
    """Decode a form's `payload` piece by piece: Gitea, Forgejo and Gogs sign the decoded bytes.

    An unverified form is never decoded at once, because that takes eighty times its size. Raises Refusal for a form
    with other fields.
    """
    body.seek(0)
    fits = body.read(len(_FIELD)) == _FIELD
    rest = b""
    while fits and (piece := body.read(FORM_PIECE_BYTES)):
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
    """Return the decoded `payload` of a verified form. Raises Refusal."""
    return b"".join(form_pieces(body))


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def socket_of(environ: dict[str, Any]) -> _Socket | None:
    """Return the connection's socket, if gunicorn passes it."""
    sock: _Socket | None = environ.get("gunicorn.socket")
    return sock
