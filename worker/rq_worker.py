"""RQ's worker, made safe against forged data in Redis. It runs listed functions only, and one queue only.

`python -m worker` starts it. `rq worker` uses it through RQ_WORKER_CLASS.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from redis.exceptions import RedisError
from rq import Worker
from rq.exceptions import AbandonedJobError
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now

from hookd.config import config_or_none
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.deployment import Status
from hookd.model.ids import is_deployment
from hookd.owner import WrongUser, require_owner
from hookd.queue.client import best_effort_client
from hookd.queue.rq_classes import SafeJob, SafeQueue
from worker import job as job_module
from worker.errors import DeploymentFailed
from worker.process.lock import is_running, liveness_lock
from worker.process.subreaper import fork_supervised, kill_descendants
from worker.recovery import redis_repair, worker_registry
from worker.recovery.crashed import WORKER_DIED, finish_crashed
from worker.recovery.recover import Recovery, finish_and_retry, logging_errors

log: Final = logging.getLogger("hookd.worker")


class NameTaken(Exception):
    """A worker of this name runs, or ran a minute ago on another host."""


class SafeWorker(Worker):
    """Runs each deployment in a process of its own, which dies with this one."""

    job_class = SafeJob
    queue_class: type[Queue] = SafeQueue
    # After two minutes of its connection's own patience, RQ would wait up to another minute each time.
    max_connection_wait_time = 5.0

    def __init__(self, queues: Any, *rest: Any, **options: Any) -> None:
        # The functions a job may call: a global of this process, because RQ creates the jobs.
        SafeJob.functions = {redis_keys.DEPLOY: job_module.deploy, redis_keys.REPLAY: job_module.replay}
        safe = {"job_class": SafeJob, "queue_class": SafeQueue, "serializer": JSONSerializer}
        super().__init__(queues, *rest, **{**options, **safe, "log_job_description": False})
        self.push_exc_handler(_finish_abandoned)  # type: ignore[no-untyped-call]
        self._recovery = Recovery()
        self._maintained_at = 0.0
        # True once it was idle for so long that it ends, to become `worker/standby.py`.
        self.rests = False

    def work(self, *arguments: Any, **options: Any) -> bool:
        """Run jobs until stopped. A user who may not deploy gets a message and exit status 1."""
        if config := config_or_none():
            try:
                require_owner(config)
            except WrongUser as error:
                raise SystemExit(f"hookd: {error.cause}\n  next: {error.hint}") from None
        return super().work(*arguments, **options)

    # The list of workers

    def serialize(self) -> dict[str, Any]:
        """Return the worker's entry, with the start that identifies its process."""
        return {**super().serialize(), "started": worker_registry.own_start_ticks()}

    def register_birth(self) -> None:
        """Enter the list of workers in place of a dead one of this name. Raises NameTaken."""
        former = worker_registry.read_entry(self.connection, self.name)
        if former is not None and former.is_own:
            self.connection.delete(self.key)  # It rested.
        elif former is not None and not former.is_alive and worker_registry.deregister(self.connection, self.name):
            event(log, "predecessor was dead", logging.WARNING, worker=self.name, process=former.pid)
        try:
            super().register_birth()  # type: ignore[no-untyped-call]
        except ValueError:
            where = f" (process {former.pid} on {former.hostname})" if former else ""
            raise NameTaken(f"a worker named {self.name} is at work already{where}") from None
        event(log, "worker started", worker=self.name, process=self.pid)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Send a heartbeat, and register again if Redis has lost the entry."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None and not worker_registry.is_registered(self.connection, self.name):
            worker_registry.register(self.connection, self.name, {**self.serialize(), "state": self.get_state()})
            super().heartbeat(timeout)
            event(log, "registered again", logging.WARNING, worker=self.name)

    def teardown(self) -> None:
        """Leave the list of workers, unless this one rests. The entry expires anyway."""
        kill_descendants()
        if self.rests and not self.is_stopping:
            event(log, "worker rests", worker=self.name)
            return
        event(log, "worker stops", worker=self.name)
        with self._without_waiting("not deregistered"):
            self.register_death()  # type: ignore[no-untyped-call]
            self.unsubscribe()  # type: ignore[no-untyped-call]

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Stop after the job at hand. RQ raises an exception in an idle worker, which its own handlers may swallow."""
        self._stop_requested = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    @property
    def is_stopping(self) -> bool:
        """Return True after a request to stop."""
        return bool(self._stop_requested)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Take the next job, or None after `max_idle_time` seconds without one."""
        found = super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        self.rests = found is None and max_idle_time is not None
        return found

    def set_shutdown_requested_date(self) -> None:
        """Record the request to stop. This runs in a signal handler."""
        with self._without_waiting("request to stop not recorded"):
            self.connection.hset(self.key, "shutdown_requested_date", f"{now():%Y-%m-%dT%H:%M:%S.%fZ}")

    @contextmanager
    def _without_waiting(self, failure: str) -> Iterator[None]:
        """Use a connection that does not wait for Redis, and log an error."""
        patient = self.connection
        try:
            with closing(best_effort_client(patient)) as self.connection:
                yield
        except RedisError as error:
            event(log, failure, logging.WARNING, why=type(error).__name__)
        finally:
            self.connection = patient

    # Maintenance, between jobs and while one runs

    def run_maintenance_tasks(self) -> None:
        """Clean up and recover abandoned deployments. A failed task stops no other."""
        with logging_errors("workers"):
            self._deregister_dead_workers()
        with logging_errors("deployments"):
            self._recovery.recover_abandoned(self.connection)
        with logging_errors("registries"):
            self.clean_registries()
        self._maintained_at = time.monotonic()

    def _deregister_dead_workers(self) -> None:
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
        """Send the heartbeats of job and worker, and run maintenance. The deployment goes on without Redis."""
        try:
            super().maintain_heartbeats(job, execution)
            self.heartbeat(self.job_monitoring_interval + 60)
            if time.monotonic() >= self._maintained_at + self.maintenance_interval:
                self.run_maintenance_tasks()
        except RedisError as error:
            event(log, "no heartbeat", logging.WARNING, job=job.id, why=type(error).__name__)

    # Jobs

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Run a job in the forked process, which supervises a second fork."""
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        fork_supervised(self.pid or 0)
        # GitPython passes on the whole environment, where these variables would steer git.
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            del os.environ[name]
        super().main_work_horse(job, queue)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Run a job with its liveness lock, and record its ending."""
        with liveness_lock(job.id):
            return super().perform_job(job, queue, execution)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log a failure: one line for a deployment's, the traceback for hookd's own."""
        if isinstance(exc_info[1], DeploymentFailed):
            event(log, "job failed", logging.ERROR, job=job.id, why=str(exc_info[1]))
            return
        super().handle_exception(job, *exc_info)

    def handle_job_failure(self, job: Job, queue: Queue, *rest: Any, **options: Any) -> None:
        """Record a failed job and the ending of its deployment."""
        super().handle_job_failure(job, queue, *rest, **options)
        finish_and_retry(self.connection, job.id, Status.FAILED, "its job failed; see the worker's log")

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Kill the rest of a killed deployment, and record its ending."""
        kill_descendants()
        finish_and_retry(self.connection, job.id, Status.FAILED, "the deploying process was killed")

    def _handle_stopped_job(self, job: Job, queue: Queue, execution: Any) -> None:
        """Record the ending of a deployment that a person stopped, and kill the rest of it.

        The client of a unit ends with the unit. Until then nobody may kill it, because it runs as root.
        """
        finish_crashed(self.connection, job.id, Status.CANCELLED, "a person stopped it")
        kill_descendants()
        super()._handle_stopped_job(job, queue, execution)


def _finish_abandoned(job: Job, kind: Any, *_: Any) -> None:
    """Record the ending of a deployment whose worker vanished. RQ calls this for each failed job."""
    if kind is AbandonedJobError and is_deployment(job.id) and not is_running(job.id):
        finish_and_retry(job.connection, job.id, Status.FAILED, WORKER_DIED)
