"""Takes in the body of a request and finds out whether its app's sender signed it; nothing is parsed before."""

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
# A host that grew out of another one sends that one's headers, too: the most telling ones come first.
_DESCENT: Final = ("forgejo", "gitea", "gogs", "github")


@dataclass(frozen=True)
class Claim:
    """Whose request this claims to be: the name in its path, and what is known of an app of that name."""

    name: str
    app: App | None
    sender: Sender
    secrets: tuple[Secret, ...]


@dataclass(frozen=True)
class SignedBody:
    """A body that an app's sender signed; whoever takes it closes it."""

    app: App
    body: IO[bytes]


def signed_body(request: Request, claim: Claim, most: int) -> SignedBody:
    """Take in the body, of at most so many bytes, and return it once the signature is right.

    Raises Unsigned, and Refusal for a body that is too long, too slow or of no known length.
    """
    length = _length(request, most)
    verifier = Verifier(claim.secrets)
    signs_value = request.mimetype == FORM and claim.sender.signs_form_value
    each: Callable[[bytes], None] = _nothing if signs_value else verifier.update
    raw = read_body(request.environ["wsgi.input"], length, each, socket_of(request.environ))
    digest = claim.sender.digest(request.headers)
    signable = digest is None or not signs_value or _takes_form(raw, verifier)
    if verifier.accepts(digest) and signable and claim.app is not None:
        return SignedBody(claim.app, raw)
    raw.close()
    raise _unsigned(request, claim, has_digest=digest is not None, signable=signable)


def payload_of(request: Request, raw: IO[bytes]) -> bytes:
    """Return the JSON of a verified body; raises Refusal when there is none."""
    if request.mimetype == JSON:
        return raw.read()
    if request.mimetype == FORM:
        return form_value(raw)
    raise Refusal(415, f"the content type is {JSON} or {FORM}")


def _length(request: Request, most: int) -> int:
    length = request.content_length
    if length is None or "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(411, "a Content-Length is required")
    if length > most:
        raise Refusal(413, f"a body has at most {most} bytes")
    return length


def _takes_form(raw: IO[bytes], verifier: Verifier) -> bool:
    """Feed the verifier what Gitea and its kin sign; a form they cannot have sent fails like a wrong signature."""
    try:
        for piece in form_pieces(raw):
            verifier.update(piece)
    except Refusal:
        return False
    return True


def _nothing(_: bytes) -> None:
    return None


def _unsigned(request: Request, claim: Claim, *, has_digest: bool, signable: bool) -> BadSignature:
    """Say to the operator which check failed; the caller learns from nothing which it was."""
    app, sender, header = claim.app, claim.sender, claim.sender.signature
    if app is None:
        return BadSignature(SignatureCheck.APP, f"no app is called {ascii(claim.name)[:80]}")
    if header not in request.headers:
        return BadSignature(SignatureCheck.HEADER, f"the header {header} is missing{_other_sender(request, app)}")
    if not has_digest:
        shape = f"{sender.prefix} and 64" if sender.prefix else "64"
        return BadSignature(SignatureCheck.SHAPE, f"{header} is not {shape} hexadecimal digits in lower case")
    if not signable:
        return BadSignature(
            SignatureCheck.FORM, f"{app.sender} signs forms of one field, named payload; this is another"
        )
    return BadSignature(SignatureCheck.DIGEST, f"{header} belongs to none of the app's secrets")


def _other_sender(request: Request, app: App) -> str:
    """Name the git host whose own header is there: most often the catalogue names the wrong one."""
    for host in _DESCENT:
        other = SENDERS[host].signature
        if other in request.headers:
            return f", {other} is there: is sender = {app.sender!r} right, or is it {host!r}?"
    return "; has the webhook a secret?"


PIECE_BYTES: Final = 64 * 1024
# What is decoded takes many times its size for a moment, in each thread.
FORM_PIECE_BYTES: Final = 16 * 1024
_IN_MEMORY: Final = 256 * 1024
_SILENCE_SECONDS: Final = 5.0
_BASE_SECONDS: Final = 10.0
_SLOWEST_BYTES_PER_SECOND: Final = 256 * 1024
_FIELD: Final = b"payload="


class _Socket(Protocol):
    def settimeout(self, value: float | None, /) -> None: ...


def max_seconds(length: int) -> float:
    """Tell how long a request with a body of `length` bytes may take to arrive."""
    return _BASE_SECONDS + length / _SLOWEST_BYTES_PER_SECOND


def read_body(
    stream: IO[bytes], length: int, each: Callable[[bytes], None], sock: _Socket | None
) -> "SpooledTemporaryFile[bytes]":
    """Read `length` bytes, hand each piece to `each`, and return them all.

    Raises Refusal when the client stops early, falls silent for 5 s or is slower than a modem.
    """
    deadline = time.monotonic() + max_seconds(length)
    spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)
    if sock is not None:
        sock.settimeout(_SILENCE_SECONDS)
    missing = length
    while missing:
        piece = _read(stream, min(PIECE_BYTES, missing))
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
    """Return the whole decoded `payload` of a verified form; raises Refusal as `form_pieces` does."""
    return b"".join(form_pieces(body))


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def socket_of(environ: dict[str, Any]) -> _Socket | None:
    """Find the connection's socket, which gunicorn passes along."""
    sock: _Socket | None = environ.get("gunicorn.socket")
    return sock
