"""Names in Redis, and the only functions that a job may call."""

from typing import Final

QUEUE: Final = "hookd"
DEPLOY: Final = "worker.job.deploy"
REPLAY: Final = "worker.job.replay"
# A job's function is looked up here by name and never imported: JSON alone would still run os.system.
FUNCTIONS: Final = frozenset({DEPLOY, REPLAY})


def rate_limit_key(app: str) -> str:
    """Name the RQ rate limit that lets one deployment of an app run at a time."""
    return f"app-{app}"


def record_key(deployment_id: str) -> str:
    """Name the hash that holds a deployment's record."""
    return f"hookd:deployment:{deployment_id}"


def coalesced_key(app: str) -> str:
    """Name the hash that counts, for each of an app's deployments, the pushes that joined it while it waited.

    Apart from the records: a flood of pushes would otherwise keep the deployment that they join from starting.
    """
    return f"hookd:joined:{app}"


def history_key(app: str) -> str:
    """Name the sorted set of an app's deployment ids, scored by their creation in seconds since 1970."""
    return f"hookd:history:{app}"


def waiting_key(app: str) -> str:
    """Name the string that holds the id of the app's one waiting deployment."""
    return f"hookd:waiting:{app}"


def delivery_key(app: str, delivery: str) -> str:
    """Name the string that remembers which deployment answered a sender's delivery."""
    return f"hookd:delivery:{app}:{delivery}"


def app_status_key(app: str) -> str:
    """Name the string that holds what the worker last saw of an app."""
    return f"hookd:app:{app}"


def decisions_key(app: str) -> str:
    """Name the stream of an app's decisions, the newest last."""
    return f"hookd:decisions:{app}"


# The stream of deliveries whose signature was refused; apart, so that a flood of them drives out nothing else.
REFUSALS: Final = "hookd:refusals"


def counts_key(app: str) -> str:
    """Name the hash of what is counted of an app since Redis last lost its data; `-` counts for no app."""
    return f"hookd:counts:{app}"


def polled_key(app: str) -> str:
    """Name the hash that remembers when an app's git host was last asked, and by which Redis' life."""
    return f"hookd:asked:{app}"


def aside_key(key: str) -> str:
    """Name the key under which another one is kept that held something else than it must."""
    return f"hookd:aside:{key}"
