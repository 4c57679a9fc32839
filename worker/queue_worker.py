"""RQ's worker, made safe: it survives whatever stands in Redis, runs only listed functions, and one queue only.

`rq worker` uses it when RQ_WORKER_CLASS names it; `python -m worker` starts it with the right options.
"""

import logging
import os
from typing import Any, Final

from redis.exceptions import ConnectionError, ResponseError, TimeoutError
from rq import Worker
from rq.exceptions import AbandonedJobError, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

from hookd.contract import queue as names
from hookd.contract.deployment import Status
from hookd.contract.names import is_deployment
from hookd.store.eventlog import event
from hookd.store.jobs import SafeJob, SafeQueue
from worker import job as jobs
from worker.context import end_dead, still_runs
from worker.errors import DeploymentFailed
from worker.run import die_with_parent

log: Final = logging.getLogger("hookd.worker")

SafeJob.functions = {names.DEPLOY: jobs.deploy, names.REPLAY: jobs.replay}


class Unstartable(Exception):
    """Redis refuses what must be written before a job can start: a key beside it holds something else."""


class SafeWorker(Worker):
    """Runs each deployment in a process of its own, which dies with this one."""

    job_class = SafeJob
    queue_class: type[Queue] = SafeQueue

    def __init__(self, queues: Any, *rest: Any, **options: Any) -> None:
        safe = {"job_class": SafeJob, "queue_class": SafeQueue, "serializer": JSONSerializer}
        super().__init__(queues, *rest, **{**options, **safe, "log_job_description": False})
        self.push_exc_handler(_end_abandoned)  # type: ignore[no-untyped-call]

    def run_maintenance_tasks(self) -> None:
        """Clean up RQ's registries; what is malformed there must not end the worker."""
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # RQ reads strangers' bytes here and raises whatever its parsers raise.
            for queue in self.queues:
                queue.release_maintenance_lock()  # type: ignore[no-untyped-call]
            if isinstance(error, StopRequested):  # So arrives a SIGTERM.
                raise
            event(log, "registries not cleaned up", logging.ERROR, trace=True)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job, or pass over one that cannot be started, where RQ's own worker would end."""
        try:
            super().execute_job(job, queue)
        except Unstartable as error:
            event(log, "job passed over", logging.ERROR, job=job.id, why=str(error))
            queue.intermediate_queue.remove(job.id)
            self.handle_job_failure(job, queue, exc_string=str(error))

    def prepare_execution(self, job: Job) -> Execution:
        """Note in Redis that a job starts; raises Unstartable."""
        try:
            return super().prepare_execution(job)
        except ResponseError as error:
            self.executions.clear()
            if "WRONGTYPE " not in str(error):
                raise  # A full or read-only Redis says nothing about this job.
            raise Unstartable(str(error)) from error

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Run a job in the forked process."""
        die_with_parent()
        _forget_git_variables()
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
            event(log, "job failed", logging.ERROR, job=job.id, why=str(exc_info[1]))
            return
        super().handle_exception(job, *exc_info)

    def handle_job_failure(self, job: Job, queue: Queue, *rest: Any, **options: Any) -> None:
        """Record a failed job, and see to it that its deployment has an ending, too."""
        super().handle_job_failure(job, queue, *rest, **options)
        end_dead(self.connection, job.id, Status.FAILED, "its job failed; see the worker's log")

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Give the deployment of a killed process its ending at once."""
        end_dead(self.connection, job.id, Status.FAILED, "the deploying process was killed")

    def _handle_stopped_job(self, job: Job, queue: Queue, execution: Any) -> None:
        """Give the deployment that a person stopped its ending."""
        end_dead(self.connection, job.id, Status.CANCELLED, "a person stopped it")
        super()._handle_stopped_job(job, queue, execution)


def _end_abandoned(job: Job, kind: Any, *_: Any) -> None:
    """Give the deployment of a worker that vanished its ending; RQ calls this for every failed job."""
    if kind is AbandonedJobError and is_deployment(job.id) and not still_runs(job.id):
        end_dead(job.connection, job.id, Status.FAILED, "the worker died while it ran")


def _forget_git_variables() -> None:
    """Drop variables that would steer git: GitPython passes on the whole environment of the worker."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
