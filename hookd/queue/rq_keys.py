"""Names of RQ's keys in Redis, for code that reads or repairs them.

A test compares them with RQ's own. Their import from RQ would load its worker at the start of each command.
"""

from typing import Final

from hookd.model.redis_keys import QUEUE, key_builder, rate_limit_name

READY_JOBS: Final = f"rq:queue:{QUEUE}"
# A worker moves a job's id here before it starts the job.
TAKEN_JOBS: Final = f"{READY_JOBS}:intermediate"
STARTED_JOBS: Final = f"rq:wip:{QUEUE}"
FINISHED_JOBS: Final = f"rq:finished:{QUEUE}"
FAILED_JOBS: Final = f"rq:failed:{QUEUE}"
RATE_LIMITS: Final = "rq:rl-keys"
SUSPENDED: Final = "rq:suspended"
WORKERS: Final = "rq:workers"
QUEUE_WORKERS: Final = f"rq:workers:{QUEUE}"
WORKER_PREFIX: Final = "rq:worker:"

# A worker's entry.
worker: Final = key_builder(WORKER_PREFIX)
# A job.
job: Final = key_builder("rq:job:")
# The set of a job's executions.
job_executions: Final = key_builder("rq:executions:")
# An execution, by the job's id, a colon and the execution's id.
execution: Final = key_builder("rq:execution:")


def worker_executions(name: str) -> str:
    """Return the key of the set of executions that a worker runs."""
    return f"{worker(name)}:executions"


def rate_limit(app: str) -> str:
    """Return the key of an app's rate limit."""
    return f"rq:rl:{rate_limit_name(app)}"


def allowed_jobs(app: str) -> str:
    """Return the key of the set of an app's jobs that the rate limit lets run."""
    return f"{rate_limit(app)}:allowed"


def held_jobs(app: str) -> str:
    """Return the key of the set of an app's jobs that the rate limit holds back."""
    return f"{rate_limit(app)}:rate_limited"
