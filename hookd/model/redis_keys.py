"""Names of hookd's keys in Redis, and the only functions that a job may call."""

from typing import Final

QUEUE: Final = "hookd"
DEPLOY: Final = "worker.job.deploy"
REPLAY: Final = "worker.job.replay"
# A job's function is looked up here by name, never imported.
FUNCTIONS: Final = frozenset({DEPLOY, REPLAY})
# The stream of refused signatures. A flood of them displaces no other decision.
REFUSALS: Final = "hookd:refusals"


def rate_limit_key(app: str) -> str:
    """Return the name of the RQ rate limit that lets one deployment of an app run at a time."""
    return f"app-{app}"


def record_key(deployment_id: str) -> str:
    """Return the key of a deployment's record, a hash."""
    return f"hookd:deployment:{deployment_id}"


def coalesced_key(app: str) -> str:
    """Return the key of the hash that counts the coalesced pushes of each deployment.

    A counter in the record would delay the deployment's start during a flood of pushes.
    """
    return f"hookd:coalesced:{app}"


def history_key(app: str) -> str:
    """Return the key of the sorted set of an app's deployment ids, scored by creation in seconds since 1970."""
    return f"hookd:history:{app}"


def waiting_key(app: str) -> str:
    """Return the key of the id of the app's one waiting deployment, a string."""
    return f"hookd:waiting:{app}"


def delivery_key(app: str, delivery: str) -> str:
    """Return the key of the id of the deployment that answered a delivery, a string."""
    return f"hookd:delivery:{app}:{delivery}"


def app_status_key(app: str) -> str:
    """Return the key of the app's published status, a string."""
    return f"hookd:app:{app}"


def decisions_key(app: str) -> str:
    """Return the key of the stream of an app's decisions, the newest last."""
    return f"hookd:decisions:{app}"


def counts_key(app: str) -> str:
    """Return the key of the hash of an app's counters. The app `-` counts requests for unknown apps."""
    return f"hookd:counts:{app}"


def polled_key(app: str) -> str:
    """Return the key of the hash with the time of the last git host poll and Redis' run id at that time."""
    return f"hookd:polled:{app}"
