"""Tells people how a deployment is doing while it runs: its record for status pages, its log for reading.

The record in Redis is a courtesy here: a Redis that is away does not stop a deployment. Only the ending must get there.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from redis import Redis
from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.model.decision import Decision, Verdict, short_text
from hookd.model.deployment import Deployment, IllegalTransition, Status, Step, StepName, with_step
from hookd.queue.codec import NoSuchDeployment
from hookd.queue.decision_log import append_decision
from hookd.queue.deployments import Contention, DeploymentStore

log: Final = logging.getLogger(__name__)


def record_decision(
    connection: Redis,
    seen: Deployment,
    verdict: Verdict,
    why: str,
    *,
    ending: Status | None = None,
    ref: str | None = None,
    head: str | None = None,
) -> None:
    """Keep for people what was decided about a deployment, and why; a Redis that is away is no reason to stop."""
    decision = Decision(
        at=datetime.now(UTC),
        app=seen.app,
        source="deployment",
        verdict=verdict,
        why=short_text(why),
        ending=ending,
        event=seen.trigger,
        delivery=seen.delivery,
        ref=short_text(ref) if ref else None,
        claimed_commit=seen.claimed_commit,
        head=head,
        deployed=seen.previous_commit,
        deployment=seen.id,
    )
    try:
        append_decision(connection, decision)
    except RedisError as error:
        event(log, "decision not kept", logging.WARNING, deployment=seen.id, why=type(error).__name__)


class LogSink(Protocol):
    """Where lines go: `worker.report.log_file`, or wherever there is no deployment to have a log."""

    def line(self, step: str, text: str) -> None:
        """Write one line under the name of a step."""

    def clean(self, text: str) -> str:
        """Make a text fit to be shown."""


class Recorder:
    """Writes one deployment's steps; `records` should be impatient, and None where nobody reads a record."""

    def __init__(self, deployment: Deployment, records: DeploymentStore | None, lines: LogSink) -> None:
        self.deployment = deployment
        self._records = records
        self._log = lines
        self._step = "hookd"

    @contextmanager
    def step(self, name: StepName, detail: str | None = None) -> Iterator[None]:
        """Run a step: its start, its end and its seconds are recorded, also when it fails."""
        step = Step(name=name, started_at=datetime.now(UTC), detail=detail)
        started = time.monotonic()
        outer, self._step = self._step, name
        self._save(step)
        try:
            yield
        except BaseException:
            self._end(step, started, "failed")
            raise
        else:
            self._end(step, started, "done")
        finally:
            self._step = outer

    def _end(self, step: Step, started: float, outcome: str) -> None:
        seconds = round(time.monotonic() - started, 3)
        self._save(step.model_copy(update={"seconds": seconds, "outcome": outcome}))
        self.line(f"{outcome} after {seconds:.2f} s")

    def line(self, text: str) -> None:
        """Write one line to the log, under the name of the running step."""
        self._log.line(self._step, text)

    def clean(self, text: str) -> str:
        """Mask a text as the log does."""
        return self._log.clean(text)

    def note(self, **changes: Any) -> None:
        """Add what became known, such as the commit, to the record."""
        self.deployment = self.deployment.model_copy(update=changes)
        self._publish(lambda record: record.model_copy(update=changes))

    def decided(self, ref: str, verdict: Verdict, why: str, ending: Status | None, *, head: str | None) -> None:
        """Keep for people what was seen and why it ended so, among the app's other decisions."""
        if self._records is not None:
            record_decision(self._records.connection, self.deployment, verdict, why, ending=ending, ref=ref, head=head)

    def _save(self, step: Step) -> None:
        self.deployment = with_step(self.deployment, step)
        self._publish(lambda record: with_step(record, step))

    def _publish(self, changed: Any) -> None:
        if self._records is None:
            return
        try:
            self._records.change(self.deployment.id, changed)
        except (RedisError, Contention, NoSuchDeployment, IllegalTransition) as error:
            event(
                log, "progress not recorded", logging.WARNING, deployment=self.deployment.id, why=type(error).__name__
            )
