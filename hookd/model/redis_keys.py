"""Names of hookd's keys in Redis, and the only functions that a job may call."""

from collections.abc import Callable
from typing import Final, Literal

QUEUE: Final = "hookd"
# A job names one of these, and nothing else. The worker never imports a function by its name.
Function = Literal["worker.job.deploy", "worker.job.replay"]
DEPLOY: Final = "worker.job.deploy"
REPLAY: Final = "worker.job.replay"
# The stream of refused signatures. A flood of them displaces no other decision.
REFUSALS: Final = "hookd:refusals"


def key_builder(prefix: str) -> Callable[[str], str]:
    """Return a function from an app, a deployment, a job or a worker to its key."""
    return lambda name: f"{prefix}{name}"


# The name of RQ's rate limit that lets one deployment of an app run at a time.
rate_limit_name: Final = key_builder("app-")
# A deployment's record: a hash.
record_key: Final = key_builder("hookd:deployment:")
# The field of that hash.
RECORD: Final = "record"
# The number of coalesced pushes of each deployment of an app: a hash. A counter in the record would delay the
# deployment's start during a flood of pushes.
coalesced_key: Final = key_builder("hookd:coalesced:")
# The ids of an app's deployments: a sorted set, scored by creation in seconds since 1970.
history_key: Final = key_builder("hookd:history:")
# The id of the app's one waiting deployment: a string.
waiting_key: Final = key_builder("hookd:waiting:")
# The published status of an app: a string.
app_status_key: Final = key_builder("hookd:app:")
# The decisions about an app: a stream, the newest last.
decisions_key: Final = key_builder("hookd:decisions:")
# The counters of an app: a hash. The app `-` counts requests for unknown apps.
counts_key: Final = key_builder("hookd:counts:")
# The time of an app's last git host poll, and Redis' run id at that time: a hash.
polled_key: Final = key_builder("hookd:polled:")


def push_key(app: str, fingerprint: str) -> str:
    """Return the key of the place of a push, whose payload has this SHA-256: a string."""
    return f"hookd:push:{app}:{fingerprint[:3]}"
