"""Records the progress of a deployment: its steps in Redis for the status pages, its lines in the log."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.model.deployment import Deployment, IllegalTransition, Step, StepName, with_step
from hookd.queue.deployments import Contention, DeploymentStore, NoSuchDeployment

log: Final = logging.getLogger(__name__)


class LogSink(Protocol):
    """Takes log lines: a deployment's log file, or the event log of a program."""

    def line(self, step: str, text: str) -> None:
        """Write a line under the name of a step."""

    def clean(self, text: str) -> str:
        """Return the text as it may be shown."""


class StepLog:
    """Writes the lines and steps of a task to its log."""

    def __init__(self, deployment_id: str, sink: LogSink) -> None:
        self.deployment_id = deployment_id
        self._sink = sink
        self._step = "hookd"

    @contextmanager
    def step(self, name: StepName, detail: str | None = None) -> Iterator[None]:
        """Record the start, the end, the seconds and the outcome of a step."""
        step = Step(name=name, started_at=datetime.now(UTC), detail=detail)
        started = time.monotonic()
        outer, self._step = self._step, name
        self._save(step)
        outcome: Literal["done", "failed"] = "failed"
        try:
            yield
            outcome = "done"
        finally:
            seconds = round(time.monotonic() - started, 3)
            self._save(step.model_copy(update={"seconds": seconds, "outcome": outcome}))
            self.line(f"{outcome} after {seconds:.2f} s")
            self._step = outer

    def _save(self, step: Step) -> None:
        """Keep a step. The log alone needs nothing more."""

    def line(self, text: str) -> None:
        """Write a line to the log, under the name of the running step."""
        self._sink.line(self._step, text)

    def clean(self, text: str) -> str:
        """Mask credentials and escape control characters."""
        return self._sink.clean(text)


class Recorder(StepLog):
    """Records a deployment's steps also in Redis.

    A Redis error is logged and does not stop the deployment, so `store` should not wait for Redis.
    """

    def __init__(self, deployment: Deployment, store: DeploymentStore, sink: LogSink) -> None:
        super().__init__(deployment.id, sink)
        self.deployment = deployment
        self._store = store

    def note(self, **changes: Any) -> None:
        """Add facts, such as the commit, to the record."""
        self._change(lambda record: record.model_copy(update=changes))

    def _save(self, step: Step) -> None:
        self._change(lambda record: with_step(record, step))

    def _change(self, changed: Callable[[Deployment], Deployment]) -> None:
        self.deployment = changed(self.deployment)
        try:
            self._store.change(self.deployment.id, changed)
        except (RedisError, Contention, NoSuchDeployment, IllegalTransition) as error:
            why = type(error).__name__
            event(log, "progress not recorded", logging.WARNING, deployment=self.deployment.id, why=why)
