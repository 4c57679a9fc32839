"""A sender of pushes: once, or until they are accepted."""

import http.client
import json
import time
import uuid
from typing import Any

from tests.faults.host import APP, FaultHost
from tests.support.installation import gitea_headers
from tests.support.processes import wait_for

TAKEN = (200, 202)
# A sender waits no longer for an answer, whatever happens behind the receiver. It promises two seconds, which
# tests/integration holds where nothing else is killed and built at the same time.
_PATIENCE_SECONDS = 5.0


def deliver(host: FaultHost, delivery: str | None = None, after: str | None = None) -> tuple[int, dict[str, Any]]:
    """Send one delivery. Status 0 stands for a request that got no answer."""
    event = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": after or host.site.repositories[APP].head(),
        "repository": {"full_name": f"acme/{APP}"},
    }
    body = json.dumps(event).encode()
    try:
        return host.site.post(f"/hooks/{APP}", body, gitea_headers(body, delivery=delivery or str(uuid.uuid4())))[:2]
    except (OSError, http.client.HTTPException):
        return 0, {}


def deliver_in_time(host: FaultHost, delivery: str | None = None) -> int:
    """Send one delivery, and hold the receiver to its promise. Returns the status of its answer."""
    after = host.site.repositories[APP].head()
    start = time.monotonic()
    status, _ = deliver(host, delivery, after)
    assert time.monotonic() - start < _PATIENCE_SECONDS, status
    return status


def insist(host: FaultHost, delivery: str, after: str | None = None) -> dict[str, Any]:
    """Send one delivery until it is taken. Returns the answer."""
    answers: list[dict[str, Any]] = []

    def taken() -> bool:
        status, answer = deliver(host, delivery, after)
        answers.append(answer)
        return status in TAKEN

    wait_for(taken, 120, what=f"an answer to {delivery}")
    return answers[-1]
