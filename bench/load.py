"""Sends pushes: one client process of `receiver.py`, a new connection for each request, one at a time.

It gets its plan as JSON on the first line of its input, builds all requests, prints `ready`, waits for the next line,
and prints what it saw as JSON: `[[started, seconds, status], ...]`, times of the monotonic clock.
"""

import hashlib
import hmac
import json
import socket
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Final

_PIECE: Final = 256 * 1024
_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Plan:
    """The requests of a client: signed pushes to the apps in turn, or `flood` unsigned bytes each time."""

    port: int
    apps: list[str]
    secret: str
    requests: int
    first: int
    seconds: float
    size: int = 10_000
    flood: int = 0

    def encoded(self) -> str:
        """Encode the plan as a line for a client."""
        return json.dumps(asdict(self))


def push_event(app: str, size: int) -> bytes:
    """Make a push event as GitHub sends it, of about `size` bytes: its length comes from its commits."""
    commits: list[dict[str, object]] = []
    event = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": uuid.uuid4().hex + "00000000",
        "delivery": "@delivery@",
        "created": False,
        "deleted": False,
        "forced": False,
        "repository": {"id": 1, "name": app, "full_name": f"acme/{app}", "private": True, "owner": {"name": "acme"}},
        "pusher": {"name": "ada", "email": "ada@example.org"},
        "commits": commits,
    }
    while len(json.dumps(event)) < size:
        commits.append(
            {
                "id": uuid.uuid4().hex + "00000000",
                "message": "Round the totals where they are shown, not where they are added up",
                "timestamp": "2024-05-01T12:00:00+02:00",
                "author": {"name": "Ada Lovelace", "email": "ada@example.org", "username": "ada"},
                "added": [],
                "removed": [],
                "modified": [f"shop/views/page_{number}.py" for number in range(8)],
            }
        )
    return json.dumps(event).encode()


def _signed(plan: Plan, number: int, event: bytes) -> bytes:
    app = plan.apps[number % len(plan.apps)]
    delivery = str(uuid.uuid4())
    # Each push differs, as a git host's do.
    body = event.replace(b"@app@", app.encode()).replace(b"@delivery@", delivery.encode())
    digest = hmac.new(plan.secret.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST /hooks/{app} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nUser-Agent: GitHub-Hookshot/bench\r\n"
        f"Content-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: {delivery}\r\n"
        f"X-Hub-Signature-256: sha256={digest}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _unsigned(plan: Plan, number: int) -> bytes:
    app = plan.apps[number % len(plan.apps)]
    head = (
        f"POST /hooks/{app} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\nContent-Length: {plan.flood}\r\n\r\n"
    )
    return head.encode()


def _exchange(port: int, request: bytes, zeros: int) -> int:
    """Send one request, followed by `zeros` zero bytes, and return the status, or 0 without an answer."""
    piece = bytes(_PIECE)
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
            connection.sendall(request)
            while zeros:
                zeros -= connection.send(piece[: min(zeros, _PIECE)])
            while data := connection.recv(65_536):
                answer += data
    except OSError:
        pass
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0


def main() -> None:
    """Follow one plan."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    event = push_event("@app@", plan.size)
    numbers = range(plan.first, plan.first + plan.requests)
    requests = [_unsigned(plan, number) if plan.flood else _signed(plan, number, event) for number in numbers]
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + plan.seconds
    seen = []
    for request in requests:
        started = time.monotonic()
        if started > end:
            break
        status = _exchange(plan.port, request, plan.flood)
        seen.append((started, time.monotonic() - started, status))
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
