"""Reads a request's body and checks its signature, HMAC-SHA256. Unsigned bytes are never parsed."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from secrets import token_bytes
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from flask import Request
from werkzeug.datastructures import Headers

from hookd.credentials import Secret
from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from hookd.receiver.errors import BadSignature, Refusal

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
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# An unknown app costs the same time as a known one. This key is never printed or stored.
_UNKNOWN_APP_SECRET: Final = Secret(token_bytes(32))


def signed_body(
    request: Request, name: str, app: App | None, secrets: Sequence[Secret], max_bytes: int
) -> tuple[App, IO[bytes]]:
    """Read the body, and return app and body if the signature is valid. The caller closes the body.

    `name` is the app in the request's path. Raises BadSignature, and Refusal for a body that is too long, too slow or
    of unknown length.
    """
    length = _length(request, max_bytes)
    host = sender_of(app)
    verifier = Verifier(secrets)
    signs_value = request.mimetype == FORM and host.signs_form_value
    on_piece: Callable[[bytes], None] = (lambda _: None) if signs_value else verifier.update
    body = read_body(request.environ["wsgi.input"], length, on_piece, request.environ.get("gunicorn.socket"))
    digest = read_digest(request.headers, host)
    is_signable = digest is None or not signs_value or _update_with_form(verifier, body)
    if verifier.accepts(digest) and is_signable and app is not None:
        return app, body
    body.close()
    raise _bad_signature(request, name, app, has_digest=digest is not None, is_signable=is_signable)


def sender_of(app: App | None) -> GitHost:
    """Return the git host whose headers are read, for an unknown app GitHub."""
    return app.sender if app else GitHost.GITHUB


def read_digest(headers: Headers, host: GitHost) -> bytes | None:
    """Return the signature's digest, or None unless it is exactly the host's prefix and 64 lower-case digits.

    A repeated header arrives joined by a comma and does not match. SHA-1 is never accepted, and the algorithm is never
    taken from the header.
    """
    value = headers.get(host.signature, "")
    digits = value.removeprefix(host.prefix)
    is_exact = value.startswith(host.prefix) and _HEX_DIGEST.fullmatch(digits)
    return bytes.fromhex(digits) if is_exact else None


class Verifier:
    """Checks a body piece by piece, so no unverified body is held in memory."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._is_known = bool(secrets)
        self._macs = [HMAC(secret.reveal(), SHA256()) for secret in (secrets or (_UNKNOWN_APP_SECRET,))]

    def update(self, piece: bytes) -> None:
        """Add the next piece of the signed bytes."""
        for mac in self._macs:
            mac.update(piece)

    def accepts(self, digest: bytes | None) -> bool:
        """Return True if the digest matches one of the secrets. Compares all of them in constant time."""
        matches = [_matches(mac, digest or b"") for mac in self._macs]
        return self._is_known and digest is not None and any(matches)


def _matches(mac: HMAC, digest: bytes) -> bool:
    try:
        mac.verify(digest)
    except InvalidSignature:
        return False
    return True


def payload_of(request: Request, body: IO[bytes]) -> bytes:
    """Return the JSON of a verified body. Raises Refusal for other content types."""
    if request.mimetype == FORM:
        return b"".join(form_pieces(body))
    if request.mimetype == JSON:
        return body.read()
    raise Refusal(415, f"the content type must be {JSON} or {FORM}")


def _length(request: Request, max_bytes: int) -> int:
    length = request.content_length
    if length is None or "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(411, "a Content-Length is required")
    if length > max_bytes:
        raise Refusal(413, f"a body has at most {max_bytes} bytes")
    return length


def _update_with_form(verifier: Verifier, body: IO[bytes]) -> bool:
    """Add a form's decoded payload to the verifier. Returns False for a form that no sender sends."""
    try:
        for piece in form_pieces(body):
            verifier.update(piece)
    except Refusal:
        return False
    return True


def _bad_signature(
    request: Request, name: str, app: App | None, *, has_digest: bool, is_signable: bool
) -> BadSignature:
    """Name the failed check for the operator. The caller's answer is always the same."""
    if app is None:
        return BadSignature("no such app", f"no app is called {ascii(name)[:80]}")
    header, prefix = app.sender.signature, app.sender.prefix
    if header not in request.headers:
        return BadSignature("no signature", f"the header {header} is missing, {_missing_header_hint(request, app)}")
    if not has_digest:
        shape = f"{prefix} and 64" if prefix else "64"
        return BadSignature("malformed signature", f"{header} is not {shape} lower-case hexadecimal digits")
    if not is_signable:
        return BadSignature("unsignable form", f"{app.sender} signs forms with one field, named payload")
    return BadSignature("wrong signature", f"{header} matches none of the app's secrets")


def _missing_header_hint(request: Request, app: App) -> str:
    """Name another host's header if there is one: the app's file often names the wrong sender."""
    for other in GitHost:
        if other.signature in request.headers:
            return f"{other.signature} is there: is sender = '{app.sender}' right, or is it '{other}'?"
    return "has the webhook a secret?"


def max_seconds(length: int) -> float:
    """Return the time limit for receiving a request with a body of `length` bytes."""
    return _BASE_SECONDS + length / _MIN_BYTES_PER_SECOND


def read_body(
    stream: IO[bytes], length: int, on_piece: Callable[[bytes], None], sock: Any
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
    """Decode a form's `payload` piece by piece: a host with `signs_form_value` signs those bytes.

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


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
