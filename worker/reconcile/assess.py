"""Assesses an observation of an app: request a deployment, or not and why. It changes nothing."""

from dataclasses import dataclass
from datetime import datetime

from hookd.model.decision import NOTHING_DEPLOYED, Assessment, Freeze, Verdict
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Status
from hookd.model.journal import AppState
from worker.reconcile.schedule import LONGEST_BACKOFF, attempts_for, build_retry_at, repair_retry_at
from worker.report.status import reason_for_lag
from worker.service.drift import DriftReport, is_unrepaired


@dataclass(frozen=True)
class Observation:
    """The head, the journal's state and the running services of an app.

    `head` is None if the git host did not answer, and `problem` says why. `history` has the newest first. `start` is
    the command that starts its service. `configured_at` is the time of its configuration.
    """

    app: str
    state: AppState
    running: DriftReport
    head: str | None = None
    problem: str = ""
    freeze: Freeze | None = None
    history: tuple[Deployment, ...] = ()
    start: str = ""
    configured_at: datetime | None = None


@dataclass(frozen=True)
class DeploymentNeeded:
    """The decision to request a deployment."""

    why: str


def assess(observed: Observation, now: datetime) -> DeploymentNeeded | Assessment:
    """Return the decision to request a deployment, or the reason against it."""
    if observed.freeze is not None:
        return Assessment(verdict=Verdict.FROZEN, why=str(observed.freeze))
    if observed.running.is_stopped:
        start = f", to be started with: {observed.start}" if observed.start else ""
        return Assessment(verdict=Verdict.STOPPED, why=f"{observed.running.summary} by a person{start}")
    if observed.state.deployed is None:
        return _assess_update(observed, now) if _was_tried(observed) else _assess_first(observed)
    repair, update = _assess_repair(observed, now), _assess_update(observed, now)
    if repair is None or (isinstance(update, DeploymentNeeded) and not isinstance(repair, DeploymentNeeded)):
        return update
    return repair


def _assess_first(observed: Observation) -> Assessment:
    """Leave the first attempt to a person, because an app that hookd adopts still runs elsewhere."""
    if observed.head is None:
        return Assessment(verdict=Verdict.UNREACHABLE, why=observed.problem)
    return NOTHING_DEPLOYED


def _was_tried(observed: Observation) -> bool:
    """Return True if a deployment of a head was tried. The first one of an adopted app has a chosen commit."""
    tried = RETRYABLE_ENDINGS - {Status.CANCELLED}
    return any(record.status in tried and record.pinned_commit is None for record in observed.history)


def _assess_repair(observed: Observation, now: datetime) -> DeploymentNeeded | Assessment | None:
    """Assess whether the good release must be brought back. The git host is not needed for that."""
    drifts = observed.running.drifts
    if not observed.state.verified:
        return _unless_too_soon("a deployment was interrupted after it had switched", observed, None, now)
    if not drifts:
        return None
    summary = observed.running.summary
    steps = [step for record in observed.history for step in record.steps]
    if all(is_unrepaired(drift, steps, now) for drift in drifts):
        why = f"{summary}, also after a restart: a person must look"
        return Assessment(verdict=Verdict.WAITING, why=why)
    return _unless_too_soon(summary, observed, None, now)


def _assess_update(observed: Observation, now: datetime) -> DeploymentNeeded | Assessment:
    """Assess whether the head must be deployed."""
    if observed.head is None:
        return Assessment(verdict=Verdict.UNREACHABLE, why=observed.problem)
    result, edited = _last_result(observed, observed.head), observed.configured_at
    reason = reason_for_lag(observed.state, observed.head, result, configured_at=edited)
    if reason.verdict is not Verdict.WAITING:
        return reason
    return _unless_too_soon(reason.why, observed, observed.head, now)


def _last_result(observed: Observation, head: str) -> str:
    """Return the result of the last attempt to deploy the head, or ""."""
    last = next(iter(attempts_for(observed.history, head)), None)
    if last is None or not last.cause:
        return ""
    return f"{'failed' if last.status in RETRYABLE_ENDINGS else 'found'}: {last.cause}"


def _unless_too_soon(why: str, observed: Observation, head: str | None, now: datetime) -> DeploymentNeeded | Assessment:
    """Wait for the retry time of a build of `head`, or of a repair. Ignore one beyond any backoff (a clock jump)."""
    past, edited = observed.history, observed.configured_at
    retry_at = repair_retry_at(past) if head is None else build_retry_at(past, head, edited, now)
    if retry_at is None or retry_at <= now or retry_at > now + LONGEST_BACKOFF:
        return DeploymentNeeded(why)
    return Assessment(verdict=Verdict.WAITING, why=f"{why}; the next try is at {retry_at:%H:%M} UTC")
