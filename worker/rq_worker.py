"""RQ's worker, made safe: it survives whatever stands in Redis, runs only listed functions, and one queue only.

`rq worker` uses it when RQ_WORKER_CLASS names it; `python -m worker` starts it with the right options.
"""

import logging
import os
import time
from contextlib import closing
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError
from rq import Worker
from rq.exceptions import AbandonedJobError
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now

from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.deployment import Status
from hookd.model.ids import is_deployment
from hookd.queue.client import best_effort_client
from hookd.queue.rq_classes import SafeJob, SafeQueue
from worker import job as job_module
from worker.errors import DeploymentFailed
from worker.process.subreaper import fork_supervised, is_subreaper, kill_descendants
from worker.recovery import redis_repair, worker_registry
from worker.recovery.liveness import finish_crashed, is_running, liveness_lock
from worker.recovery.recover import Recovery, finish_and_retry

log: Final = logging.getLogger("hookd.worker")

SafeJob.functions = {redis_keys.DEPLOY: job_module.deploy, redis_keys.REPLAY: job_module.replay}


class JobNotStartable(Exception):
    """Redis refuses what must be written before a job can start: a key beside it holds something else."""


class NameTaken(Exception):
    """A worker of this name is at work, or was a minute ago on another host."""


class SafeWorker(Worker):
    """Runs each deployment in a process of its own, which dies with this one."""

    job_class = SafeJob
    queue_class: type[Queue] = SafeQueue
    # After two minutes of its connection's own patience: RQ would wait up to a minute more each time.
    max_connection_wait_time = 5.0

    def __init__(self, queues: Any, *rest: Any, **options: Any) -> None:
        safe = {"job_class": SafeJob, "queue_class": SafeQueue, "serializer": JSONSerializer}
        super().__init__(queues, *rest, **{**options, **safe, "log_job_description": False})
        self.push_exc_handler(_finish_abandoned)  # type: ignore[no-untyped-call]
        self._sweep = Recovery()
        self._swept_at = 0.0

    # Its place among the workers

    def serialize(self) -> dict[str, Any]:
        """Say in Redis who this is, so exactly that no other process can be taken for it."""
        return {**super().serialize(), "started": worker_registry.own_start_ticks()}

    def register_birth(self) -> None:
        """Enter the list of workers, in place of a dead one of this name; raises NameTaken."""
        redis_repair.delete_bad_keys(self.connection, redis_repair.worker_keys(self.name))
        former = worker_registry.read_entry(self.connection, self.name)
        if former is not None and not former.lives and worker_registry.deregister(self.connection, self.name):
            event(log, "predecessor was dead", logging.WARNING, worker=self.name, process=former.pid)
        try:
            super().register_birth()  # type: ignore[no-untyped-call]
        except ValueError:
            who = f"process {former.pid} on {former.hostname}" if former else "somewhere"
            raise NameTaken(f"a worker named {self.name} is at work already ({who})") from None
        event(log, "worker started", worker=self.name, process=self.pid)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that it lives, and enter the list of workers again when Redis has lost it."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None and not worker_registry.is_registered(self.connection, self.name):
            worker_registry.register(self.connection, self.name, {**self.serialize(), "state": self.get_state()})
            super().heartbeat(timeout)
            event(log, "listed again", logging.WARNING, worker=self.name)

    def teardown(self) -> None:
        """Leave; where Redis is away nobody waits for it, since the keys expire by themselves."""
        if is_subreaper():
            kill_descendants()
        event(log, "worker stops", worker=self.name)
        with closing(best_effort_client(self.connection)) as hurried:
            self.connection = hurried
            try:
                self.register_death()  # type: ignore[no-untyped-call]
                self.unsubscribe()  # type: ignore[no-untyped-call]
            except RedisError as error:
                event(log, "stopped without a word to Redis", logging.WARNING, why=type(error).__name__)

    def set_shutdown_requested_date(self) -> None:
        """Say that it will stop, if Redis is there: a deployment is under way, and this is a signal's handler."""
        try:
            with closing(best_effort_client(self.connection)) as hurried:
                hurried.hset(self.key, "shutdown_requested_date", f"{now():%Y-%m-%dT%H:%M:%S.%fZ}")
        except RedisError as error:
            event(log, "stops without a word to Redis", logging.WARNING, why=type(error).__name__)

    # What it does between jobs, and while one runs

    def run_maintenance_tasks(self) -> None:
        """Clean up and look after the abandoned; what goes wrong with one thing stops none of the others."""
        redis_repair.attempt(
            "keys", lambda: redis_repair.delete_bad_keys(self.connection, redis_repair.worker_keys(self.name))
        )
        redis_repair.attempt("workers", self._bury_the_dead)
        redis_repair.attempt("deployments", lambda: self._sweep.look(self.connection))
        self.clean_registries()
        self._swept_at = time.monotonic()

    def _bury_the_dead(self) -> None:
        for name in worker_registry.dead_workers(self.connection):
            if name != self.name and worker_registry.deregister(self.connection, name):
                event(log, "worker was dead", logging.WARNING, worker=name)

    def clean_registries(self) -> None:
        """Clean up RQ's registries, unless another worker does."""
        for queue in self.queues:
            if queue.acquire_maintenance_lock():
                try:
                    redis_repair.clean_registries(queue, self._exc_handlers)
                finally:
                    queue.release_maintenance_lock()  # type: ignore[no-untyped-call]
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Say that job and worker live, and look after what others abandoned; the deployment goes on whatever happens.

        It needs Redis only for its ending.
        """
        try:
            super().maintain_heartbeats(job, execution)
            self.heartbeat(self.job_monitoring_interval + 60)
            if time.monotonic() >= self._swept_at + self.maintenance_interval:
                self.run_maintenance_tasks()
        except RedisError as error:
            event(log, "no heartbeat", logging.WARNING, job=job.id, why=type(error).__name__)

    # Jobs

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job; a key that holds something else than it must is set aside, where RQ's worker would end."""
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except ResponseError:
                if not redis_repair.delete_bad_keys(self.connection, redis_repair.worker_keys(self.name)):
                    raise

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job, or pass over one that cannot be started, where RQ's own worker would end."""
        try:
            super().execute_job(job, queue)
        except JobNotStartable as error:
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
            if redis_repair.delete_bad_keys(self.connection, redis_repair.worker_keys(self.name)):
                return super().prepare_execution(job)
            raise JobNotStartable(str(error)) from error

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Run a job in the forked process, which becomes its keeper and forks once more."""
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        fork_supervised(self.pid or 0)
        _remove_git_variables()
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run a job and record how it ended, and give a sign of life meanwhile."""
        with liveness_lock(job.id):
            return super().perform_job(job, queue, execution)

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
        finish_and_retry(self.connection, job.id, Status.FAILED, "its job failed; see the worker's log")

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Give the deployment of a killed process its ending at once, when nothing of it runs any more."""
        self._end_what_is_left()
        finish_and_retry(self.connection, job.id, Status.FAILED, "the deploying process was killed")

    def _handle_stopped_job(self, job: Job, queue: Queue, execution: Any) -> None:
        """Give the deployment that a person stopped its ending."""
        self._end_what_is_left()
        finish_crashed(self.connection, job.id, Status.CANCELLED, "a person stopped it")
        super()._handle_stopped_job(job, queue, execution)

    def _end_what_is_left(self) -> None:
        """End what a deployment left running when its keeper was killed, too: no job runs now, so all is left over."""
        if is_subreaper():
            kill_descendants()


def _finish_abandoned(job: Job, kind: Any, *_: Any) -> None:
    """Give the deployment of a worker that vanished its ending; RQ calls this for every failed job."""
    if kind is AbandonedJobError and is_deployment(job.id) and not is_running(job.id):
        finish_and_retry(job.connection, job.id, Status.FAILED, "the worker died while it ran")


def _remove_git_variables() -> None:
    """Drop variables that would steer git: GitPython passes on the whole environment of the worker."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
