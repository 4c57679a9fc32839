"""Reads a request's body and checks its signature, HMAC-SHA256. Unsigned bytes are never parsed.

The headers alone decide the work for an unsigned request, so its duration tells nothing about the apps: each body is
signed with two secrets, and each form is decoded and signed in both ways.
"""

import re
import time
from collections.abc import Callable, Sequence
from secrets import token_bytes
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from flask import Request
from werkzeug.datastructures import Headers

from hookd.credentials import MAX_SECRETS, Secret
from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from hookd.receiver.errors import BadSignature, Refusal

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
PIECE_BYTES: Final = 64 * 1024
# A form is decoded before its signature is checked. Real forms are smaller: GitHub's largest reported pushes have half
# a megabyte.
MAX_FORM_BYTES: Final = 1024 * 1024
_IN_MEMORY_BYTES: Final = 256 * 1024
_SILENCE_SECONDS: Final = 5.0
_BASE_SECONDS: Final = 10.0
_MIN_BYTES_PER_SECOND: Final = 256 * 1024
_FIELD: Final = b"payload="
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Takes the place of a missing secret. It is never printed or stored, and its signature is never accepted.
_STAND_IN: Final = Secret(token_bytes(32))


def signed_body(
    request: Request, name: str, app: App | None, secrets: Sequence[Secret], max_bytes: int
) -> tuple[App, IO[bytes]]:
    """Read the body, and return app and body if the signature is valid. The caller closes the body.

    `name` is the app in the request's path. Raises BadSignature, and Refusal for a body that is too long, too slow or
    of unknown length.
    """
    is_form = request.mimetype == FORM
    length = _length(request, max_bytes, is_form=is_form)
    host = sender_of(app)
    of_body, of_value = Verifier(secrets), Verifier(secrets)
    body = read_body(request.environ["wsgi.input"], length, of_body.update, request.environ.get("gunicorn.socket"))
    value = decode_form(body.read()) if is_form else None
    body.seek(0)
    of_value.update(value or b"")
    signs_value = is_form and host.signs_form_value
    is_signable = value is not None or not signs_value
    digest = read_digest(request.headers, host)
    if (of_value if signs_value else of_body).accepts(digest) and is_signable and app is not None:
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
    """Checks a body piece by piece, so no unverified body is held in memory.

    It always computes as many signatures as an app can have secrets.
    """

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._secrets = len(secrets)
        keys = (*secrets, *[_STAND_IN] * (MAX_SECRETS - len(secrets)))
        self._macs = [HMAC(key.reveal(), SHA256()) for key in keys]

    def update(self, piece: bytes) -> None:
        """Add the next piece of the signed bytes."""
        for mac in self._macs:
            mac.update(piece)

    def accepts(self, digest: bytes | None) -> bool:
        """Return True if the digest matches one of the secrets. Compares all of them in constant time."""
        matches = [_matches(mac, digest or b"") for mac in self._macs]
        return digest is not None and any(matches[: self._secrets])


def _matches(mac: HMAC, digest: bytes) -> bool:
    try:
        mac.verify(digest)
    except InvalidSignature:
        return False
    return True


def payload_of(request: Request, body: IO[bytes]) -> bytes:
    """Return the JSON of a verified body. Raises Refusal for other content types."""
    if request.mimetype == FORM:
        if (value := decode_form(body.read())) is None:
            raise Refusal(400, "a form needs exactly one field, named payload")
        return value
    if request.mimetype == JSON:
        return body.read()
    raise Refusal(415, f"the content type must be {JSON} or {FORM}")


def _length(request: Request, max_bytes: int, *, is_form: bool) -> int:
    length = request.content_length
    if length is None or "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(411, "a Content-Length is required")
    if length > max_bytes:
        raise Refusal(413, f"a body has at most {max_bytes} bytes")
    if is_form and length > MAX_FORM_BYTES:
        raise Refusal(413, f"a form has at most {MAX_FORM_BYTES} bytes, choose {JSON}")
    return length


def decode_form(form: bytes) -> bytes | None:
    """Return a form's `payload`, or None for a form with another field or a malformed escape.

    Python reads the form as text with `\\x` escapes, because its own decoder for forms takes ten times as long.
    """
    if not form.startswith(_FIELD) or b"&" in form:
        return None
    text = form[len(_FIELD) :].replace(b"+", b" ").replace(b"\\", b"\\\\").replace(b"%", b"\\x")
    try:
        return text.decode("unicode_escape").encode("latin-1")
    except UnicodeDecodeError:
        return None


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
