"""Takes in the body of a request and finds out whether its app's sender signed it; nothing is parsed before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Final

from flask import Request

from hookd import body
from hookd.contract.catalogue import App
from hookd.refusals import Check, Refusal, Unsigned
from hookd.secrets import Secret
from hookd.senders import SENDERS, Sender
from hookd.signatures import Verifier

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
class Signed:
    """A body that an app's sender signed; whoever takes it closes it."""

    app: App
    body: IO[bytes]


def signed_body(request: Request, claim: Claim, most: int) -> Signed:
    """Take in the body, of at most so many bytes, and return it once the signature is right.

    Raises Unsigned, and Refusal for a body that is too long, too slow or of no known length.
    """
    length = _length(request, most)
    verifier = Verifier(claim.secrets)
    signs_value = request.mimetype == FORM and claim.sender.signs_form_value
    each: Callable[[bytes], None] = _nothing if signs_value else verifier.update
    raw = body.receive(request.environ["wsgi.input"], length, each, body.socket_of(request.environ))
    digest = claim.sender.digest(request.headers)
    signable = digest is None or not signs_value or _takes_form(raw, verifier)
    if verifier.accepts(digest) and signable and claim.app is not None:
        return Signed(claim.app, raw)
    raw.close()
    raise _unsigned(request, claim, has_digest=digest is not None, signable=signable)


def payload_of(request: Request, raw: IO[bytes]) -> bytes:
    """Return the JSON of a verified body; raises Refusal when there is none."""
    if request.mimetype == JSON:
        return raw.read()
    if request.mimetype == FORM:
        return body.form_value(raw)
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
        for piece in body.form_pieces(raw):
            verifier.update(piece)
    except Refusal:
        return False
    return True


def _nothing(_: bytes) -> None:
    return None


def _unsigned(request: Request, claim: Claim, *, has_digest: bool, signable: bool) -> Unsigned:
    """Say to the operator which check failed; the caller learns from nothing which it was."""
    app, sender, header = claim.app, claim.sender, claim.sender.signature
    if app is None:
        return Unsigned(Check.APP, f"no app is called {ascii(claim.name)[:80]}")
    if header not in request.headers:
        return Unsigned(Check.HEADER, f"the header {header} is missing{_other_sender(request, app)}")
    if not has_digest:
        shape = f"{sender.prefix} and 64" if sender.prefix else "64"
        return Unsigned(Check.SHAPE, f"{header} is not {shape} hexadecimal digits in lower case")
    if not signable:
        return Unsigned(Check.FORM, f"{app.sender} signs forms of one field, named payload; this is another")
    return Unsigned(Check.DIGEST, f"{header} belongs to none of the app's secrets")


def _other_sender(request: Request, app: App) -> str:
    """Name the git host whose own header is there: most often the catalogue names the wrong one."""
    for host in _DESCENT:
        other = SENDERS[host].signature
        if other in request.headers:
            return f", {other} is there: is sender = {app.sender!r} right, or is it {host!r}?"
    return "; has the webhook a secret?"
