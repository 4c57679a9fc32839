"""The names of RQ's keys are those of the installed RQ."""

from redis import Redis
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE, Execution, ExecutionRegistry
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue
from rq.rate_limit import RateLimitRegistry
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import BaseWorker
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from hookd.model.redis_keys import QUEUE, rate_limit_name
from hookd.queue import rq_keys


def test_queue_keys() -> None:
    queue = Queue(QUEUE, connection=Redis())
    assert queue.key == rq_keys.READY_JOBS
    assert Job.key_for("one") == rq_keys.job("one")
    assert IntermediateQueue.get_intermediate_queue_key(queue.key) == rq_keys.TAKEN_JOBS
    registries = (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry)
    assert [registry(queue=queue).key for registry in registries] == [
        rq_keys.STARTED_JOBS,
        rq_keys.FINISHED_JOBS,
        rq_keys.FAILED_JOBS,
    ]


def test_worker_keys() -> None:
    assert (rq_keys.WORKERS, rq_keys.QUEUE_WORKERS) == (REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY % QUEUE)
    assert rq_keys.worker("one") == f"{BaseWorker.redis_worker_namespace_prefix}one"
    assert rq_keys.worker_executions("one") == WORKER_EXECUTIONS_KEY_TEMPLATE.format("one")
    assert rq_keys.SUSPENDED == WORKERS_SUSPENDED


def test_execution_keys() -> None:
    execution = Execution(id="two", job_id="one", connection=Redis())
    assert rq_keys.execution(execution.composite_key) == execution.key
    assert rq_keys.job_executions("one") == ExecutionRegistry("one", connection=Redis()).key


def test_rate_limit_keys() -> None:
    limit = RateLimitRegistry(rate_limit_name("shop"), connection=Redis())
    assert (rq_keys.RATE_LIMITS, rq_keys.rate_limit("shop")) == (limit.rl_keys_key, limit.config_key)
    assert (rq_keys.allowed_jobs("shop"), rq_keys.held_jobs("shop")) == (limit.allowed_key, limit.rate_limited_key)
