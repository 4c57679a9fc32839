"""Requested, started and ended deployments in a real Redis."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from hookd.model import redis_keys
from hookd.model.deployment import (
    Deployment,
    Status,
    Trigger,
    advance,
)
from hookd.queue.deployments import DeploymentRequest, DeploymentStore, RequestResult

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def fingerprint_of(push: str) -> str:
    """Return the fingerprint of a push's payload."""
    return hashlib.sha256(push.encode()).hexdigest()


def ask(
    records: DeploymentStore,
    trigger: Trigger = Trigger.PUSH,
    app: str = "shop",
    delivery: str | None = None,
    push: str | None = None,
    **more: Any,
) -> RequestResult:
    """Request a deployment. Another delivery is another push, unless `push` names one."""
    known = push or delivery
    fingerprint = fingerprint_of(known) if known else None
    return records.request(DeploymentRequest(app, trigger, 300, delivery=delivery, fingerprint=fingerprint, **more))


def start(records: DeploymentStore, deployment_id: str) -> Deployment:
    return records.change(deployment_id, lambda old: advance(old, Status.RUNNING, AT))


def end(records: DeploymentStore, deployment_id: str, status: Status) -> Deployment:
    if records.get(deployment_id).status is Status.QUEUED and status is not Status.SUPERSEDED:
        start(records, deployment_id)
    return records.change(deployment_id, lambda old: advance(old, status, AT))


def waiting(client: Redis, app: str = "shop") -> str | None:
    raw = client.get(redis_keys.waiting_key(app))
    return raw.decode() if isinstance(raw, bytes) else None
