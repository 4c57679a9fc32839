"""Sends a signed push event like a git host: for tests by hand, and as the hook of a plain git repository."""

import http.client
import json
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hookd.credentials import Secret
from hookd.http_probe import open_connection, parse_address
from hookd.model.app import App
from hookd.receiver.senders import SENDERS
from hookd.receiver.signatures import sign

_SECONDS = 10


@dataclass(frozen=True)
class RefUpdate:
    """A ref with its old and new commit."""

    before: str
    after: str
    ref: str


class SendError(Exception):
    """The receiver did not answer."""


def parse_ref_updates(lines: list[str]) -> list[RefUpdate]:
    """Parse git's input to a post-receive hook: one `old new ref` per line."""
    rows = (line.split(maxsplit=2) for line in lines)
    return [RefUpdate(row[0], row[1], row[2].strip()) for row in rows if len(row) == 3]


def send(bind: str, app: App, secret: Secret, update: RefUpdate) -> tuple[int, dict[str, Any]]:
    """Send a push to the receiver at `bind` and return its status and answer. Raises SendError."""
    body = json.dumps(_payload(app, update)).encode()
    try:
        with closing(open_connection(parse_address(bind), _SECONDS)) as connection:
            connection.request("POST", f"/hooks/{app.name}", body, _headers(app, secret, body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SendError(f"the receiver at {bind} does not answer: {error}") from error


def _payload(app: App, update: RefUpdate) -> dict[str, Any]:
    """Return the fields that the push events of all senders have."""
    return {
        "ref": update.ref,
        "before": update.before,
        "after": update.after,
        "repository": {"full_name": app.full_name},
        "pusher": {"login": "hookd-send"},
    }


def _headers(app: App, secret: Secret, body: bytes) -> dict[str, str]:
    sender = SENDERS[app.sender]
    return {
        "Content-Type": "application/json",
        sender.event: "push",
        sender.delivery: str(uuid.uuid4()),
        sender.signature: sender.prefix + sign(secret, [body]),
    }
