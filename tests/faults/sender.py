"""A sender of pushes: once, or until they are accepted."""

import http.client
import json
import time
import uuid
from typing import Any

from tests.faults.host import APP, FaultHost
from tests.support.processes import wait_for
from tests.support.signatures import gitea_headers

ACCEPTED = (200, 202)
# The limit of an answer here. hookd promises two seconds, which tests/integration checks without kills and builds.
_ANSWER_SECONDS = 5.0


def deliver(host: FaultHost, delivery: str | None = None, after: str | None = None) -> tuple[int, dict[str, Any]]:
    """Send one delivery. Another delivery is another push. Status 0 stands for a request that got no answer."""
    delivery = delivery or str(uuid.uuid4())
    event = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": after or host.site.repositories[APP].head(),
        "repository": {"full_name": f"acme/{APP}"},
        "delivery": delivery,
    }
    body = json.dumps(event).encode()
    try:
        return host.site.post(f"/hooks/{APP}", body, gitea_headers(body, delivery=delivery))[:2]
    except (OSError, http.client.HTTPException):
        return 0, {}


def deliver_in_time(host: FaultHost, delivery: str | None = None) -> tuple[int, dict[str, Any]]:
    """Send one delivery, and check the time of the answer."""
    after = host.site.repositories[APP].head()
    start = time.monotonic()
    status, answer = deliver(host, delivery, after)
    assert time.monotonic() - start < _ANSWER_SECONDS, status
    return status, answer


def deliver_until_accepted(host: FaultHost, delivery: str, after: str | None = None) -> dict[str, Any]:
    """Send one delivery until it is accepted, and return the answer."""
    answers: list[dict[str, Any]] = []

    def is_accepted() -> bool:
        status, answer = deliver(host, delivery, after)
        answers.append(answer)
        return status in ACCEPTED

    wait_for(is_accepted, 120, what=f"an answer to {delivery}")
    return answers[-1]
