"""Sends a signed push event, as a git host would: a test by hand, or the hook of a plain git host."""

import http.client
import json
import socket
import uuid
from dataclasses import dataclass
from typing import Any

from hookd.credentials import Secret
from hookd.model.app import App
from hookd.receiver.senders import SENDERS
from hookd.receiver.signatures import sign

_SECONDS = 10


@dataclass(frozen=True)
class RefUpdate:
    """A ref that moved from one commit to another, as git tells a post-receive hook."""

    before: str
    after: str
    ref: str


class SendError(Exception):
    """The receiver could not be asked, or said no."""


def parse_ref_updates(lines: list[str]) -> list[RefUpdate]:
    """Read what git writes to a post-receive hook: `old new ref`, one ref per line."""
    rows = (line.split(maxsplit=2) for line in lines)
    return [RefUpdate(row[0], row[1], row[2].strip()) for row in rows if len(row) == 3]


def send(bind: str, app: App, secret: Secret, moved: RefUpdate) -> tuple[int, dict[str, Any]]:
    """Send one event to the receiver at `bind` and return its status and its answer; raises SendError."""
    body = json.dumps(_payload(app, moved)).encode()
    connection = _connect(bind)
    try:
        connection.request("POST", f"/hooks/{app.name}", body, _headers(app, secret, body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SendError(f"the receiver at {bind} does not answer: {error}") from error
    finally:
        connection.close()


def _payload(app: App, moved: RefUpdate) -> dict[str, Any]:
    """The fields of a push event that receivers read; every sender has them."""
    return {
        "ref": moved.ref,
        "before": moved.before,
        "after": moved.after,
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


def _connect(bind: str) -> http.client.HTTPConnection:
    if not bind.startswith("unix:"):
        host, _, port = bind.rpartition(":")
        return http.client.HTTPConnection(host.strip("[]") or "127.0.0.1", int(port), timeout=_SECONDS)
    connection = http.client.HTTPConnection("localhost", timeout=_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(_SECONDS)
    try:
        connection.sock.connect(bind.removeprefix("unix:"))
    except OSError as error:
        raise SendError(f"the receiver at {bind} does not answer: {error}") from error
    return connection
