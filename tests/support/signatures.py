"""The signatures and headers of the senders."""

import hashlib
import hmac
import uuid

from hookd.model.git_hosts import GitHost

SECRET = "a webhook secret for tests"
JSON = "application/json"
REDELIVERED = "f6266f16-1bf3-46a5-9ea4-602e06ead473"


def signed(body: bytes, secret: str = SECRET) -> str:
    """Compute a signature with the standard library, not with the code under test."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def headers_of(
    sender: str,
    over: bytes,
    *,
    event: str = "push",
    delivery: str | None = REDELIVERED,
    secret: str = SECRET,
    content_type: str | None = JSON,
) -> dict[str, str]:
    """Build a sender's headers. `over` is the signed text."""
    names = GitHost(sender)
    headers = {names.event: event, names.signature: names.prefix + signed(over, secret)}
    if delivery is not None:
        headers[names.delivery] = delivery
    if content_type is not None:
        headers["Content-Type"] = content_type
    return headers


def gitea_headers(
    body: bytes, secret: str = SECRET, delivery: str | None = None, event: str = "push"
) -> dict[str, str]:
    """Build Gitea's headers for a JSON body of a new delivery."""
    return headers_of("gitea", body, event=event, delivery=delivery or str(uuid.uuid4()), secret=secret)
