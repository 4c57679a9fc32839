"""RQ's worker, made safe: it survives whatever stands in Redis, runs only listed functions, and one queue only.

`rq worker` uses it when RQ_WORKER_CLASS names it; `python -m worker` starts it with the right options.
"""

import logging
from typing import Any, Final

from redis.exceptions import ConnectionError, TimeoutError
from rq import Worker
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

from hookd.contract import queue as names
from hookd.contract.deployment import Status
from hookd.contract.names import is_deployment
from hookd.store.jobs import SafeJob, SafeQueue
from worker import job as jobs
from worker.errors import DeploymentFailed
from worker.run import die_with_parent

log: Final = logging.getLogger("hookd.worker")

SafeJob.functions = {names.DEPLOY: jobs.deploy, names.REPLAY: jobs.replay}


class SafeWorker(Worker):
    """Runs each deployment in a process of its own, which dies with this one."""

    job_class = SafeJob
    queue_class: type[Queue] = SafeQueue

    def __init__(self, queues: Any, *rest: Any, **options: Any) -> None:
        safe = {"job_class": SafeJob, "queue_class": SafeQueue, "serializer": JSONSerializer}
        super().__init__(queues, *rest, **{**options, **safe, "log_job_description": False})

    def run_maintenance_tasks(self) -> None:
        """Clean up RQ's registries; what is malformed there must not end the worker."""
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        except (ConnectionError, TimeoutError):
            raise
        except Exception:  # RQ reads strangers' bytes here and raises whatever its parsers raise.
            log.exception("cleaning up RQ's registries failed; the next round tries again")
            for queue in self.queues:
                queue.release_maintenance_lock()  # type: ignore[no-untyped-call]

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Run a job in the forked process."""
        die_with_parent()
        super().main_work_horse(job, queue)

    def _finalize_failure(self, job: Job, queue: Queue, execution: Any, exc_info: Any) -> None:
        """Record a failed job; a deployment that ended badly is no error of hookd's and shows no traceback."""
        kind, error, trace = exc_info
        if isinstance(error, DeploymentFailed):
            trace = None
        super()._finalize_failure(job, queue, execution, (kind, error, trace))

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log a failure: one line for a deployment's, everything for hookd's own."""
        if isinstance(exc_info[1], DeploymentFailed):
            log.error("job %s failed: %s", job.id, exc_info[1])
            return
        super().handle_exception(job, *exc_info)

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Give the deployment of a killed process its ending at once."""
        if is_deployment(job.id):
            jobs.mark_dead(jobs.records_on(self.connection), job.id, Status.FAILED, "the deploying process was killed")

    def _handle_stopped_job(self, job: Job, queue: Queue, execution: Any) -> None:
        """Give the deployment that a person stopped its ending."""
        if is_deployment(job.id):
            jobs.mark_dead(jobs.records_on(self.connection), job.id, Status.CANCELLED, "a person stopped it")
        super()._handle_stopped_job(job, queue, execution)
