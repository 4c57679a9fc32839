"""Names of RQ's keys in Redis, for code that reads or repairs them. The project pins RQ's minor version."""

from typing import Final

from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE
from rq.intermediate_queue import IntermediateQueue
from rq.queue import Queue
from rq.rate_limit import RateLimitRegistry
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import BaseWorker
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from hookd.model.redis_keys import QUEUE, rate_limit_key

QUEUES: Final = str(Queue.redis_queues_keys)
READY_JOBS: Final = f"{Queue.redis_queue_namespace_prefix}{QUEUE}"
# A worker moves a job's id here before it starts the job.
TAKEN_JOBS: Final = IntermediateQueue.get_intermediate_queue_key(READY_JOBS)
STARTED_JOBS: Final = StartedJobRegistry.key_template.format(QUEUE)
FINISHED_JOBS: Final = FinishedJobRegistry.key_template.format(QUEUE)
FAILED_JOBS: Final = FailedJobRegistry.key_template.format(QUEUE)
RATE_LIMITS: Final = RateLimitRegistry.rl_keys_key
SUSPENDED: Final = WORKERS_SUSPENDED
WORKERS: Final = REDIS_WORKER_KEYS
QUEUE_WORKERS: Final = WORKERS_BY_QUEUE_KEY % QUEUE
WORKER_PREFIX: Final = BaseWorker.redis_worker_namespace_prefix


def worker(name: str) -> str:
    """Return the key of a worker's entry."""
    return f"{WORKER_PREFIX}{name}"


def worker_executions(name: str) -> str:
    """Return the key of the set of executions that a worker runs."""
    return WORKER_EXECUTIONS_KEY_TEMPLATE.format(name)


def job_executions(job_id: str) -> str:
    """Return the key of the set of a job's executions."""
    return f"rq:executions:{job_id}"


def execution(composite_id: str) -> str:
    """Return the key of an execution. `composite_id` is the job's id, a colon and the execution's id."""
    return f"rq:execution:{composite_id}"


def rate_limit(app: str) -> str:
    """Return the key of an app's rate limit."""
    return f"rq:rl:{rate_limit_key(app)}"


def allowed_jobs(app: str) -> str:
    """Return the key of the set of an app's jobs that the rate limit lets run."""
    return f"{rate_limit(app)}:allowed"


def held_jobs(app: str) -> str:
    """Return the key of the set of an app's jobs that the rate limit holds back."""
    return f"{rate_limit(app)}:rate_limited"
