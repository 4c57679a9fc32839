"""Weighs what a look at an app found: is a deployment asked for, and if not, why; decides only, does nothing."""

from dataclasses import dataclass
from datetime import datetime

from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import RETRYABLE_ENDINGS, Deployment, Trigger
from hookd.model.eligibility import Freeze, block_reason, remedy
from hookd.model.journal import AppState
from worker.reconcile.lag import lag_reason
from worker.reconcile.schedule import LONGEST_BACKOFF, attempts_for, build_retry_at, repair_retry_at, restart_was_futile
from worker.service.drift import Drift, DriftReport


@dataclass(frozen=True)
class Observation:
    """What a look at an app found: wanted, deployed, running. `head` is None, and `problem` says why, when the git
    host gave no answer; `history` begins with the newest; `start` is what a person types to start its service.
    """

    app: str
    state: AppState
    running: DriftReport
    head: str | None = None
    problem: str = ""
    freeze: Freeze | None = None
    history: tuple[Deployment, ...] = ()
    start: str = ""


def decide(found: Observation, now: datetime) -> Assessment:
    """Decide; QUEUED means that a deployment is to be asked for."""
    if found.freeze is not None:
        return Assessment(verdict=Verdict.FROZEN, why=str(found.freeze))
    if found.running.is_stopped:
        return Assessment(verdict=Verdict.STOPPED, why=_stopped(found))
    if found.state.deployed is None:
        return _first(found)
    mend, bring = _mend(found, now), _bring(found, now)
    return next((one for one in (mend, bring) if one and one.verdict is Verdict.QUEUED), mend or bring)


def _stopped(found: Observation) -> str:
    return f"{found.running.summary}: a person did that; next: {found.start or remedy(Verdict.STOPPED, found.app)}"


def _first(found: Observation) -> Assessment:
    """The first deployment is a person's: an app that is being taken over still runs elsewhere."""
    if found.head is None:
        return Assessment(verdict=Verdict.UNREACHABLE, why=found.problem)
    why = f"nothing was deployed yet, and the first time a person must say so: hookd deploy {found.app}"
    return Assessment(verdict=Verdict.WAITING, why=why)


def _mend(found: Observation, now: datetime) -> Assessment | None:
    """Ask for what brings the good release back, if it does not serve as it should; whether the git host answers."""
    if found.state.verified and not found.running.drifts:
        return None
    wrong = found.running.summary if found.state.verified else "a deployment was interrupted after it had switched"
    if found.state.verified and all(_is_in_vain(found, drift) for drift in found.running.drifts):
        return Assessment(verdict=Verdict.WAITING, why=f"{wrong}, also after it was started again: a person must look")
    return _unless_too_soon(wrong, repair_retry_at(found.history), now)


def _is_in_vain(found: Observation, drift: Drift) -> bool:
    """A service that takes requests is not started again for what that did not change."""
    return drift.kind == "release" and restart_was_futile(found.history, drift)


def _bring(found: Observation, now: datetime) -> Assessment:
    """Ask for the head, unless something speaks against it."""
    if found.head is None:
        return Assessment(verdict=Verdict.UNREACHABLE, why=found.problem)
    against = block_reason(found.state, found.head, Trigger.RECONCILE)
    if against is not None:
        return against
    why = lag_reason(found.state, found.head, _last_failure(found, found.head))
    return _unless_too_soon(why, build_retry_at(found.history, found.head), now)


def _last_failure(found: Observation, head: str) -> str:
    """Why the last try to bring the head failed, if one did: what a person can do something about."""
    last = next(iter(attempts_for(found.history, head)), None)
    if last is None or not last.cause:
        return ""
    return f"{'failed' if last.status in RETRYABLE_ENDINGS else 'found'}: {last.cause}"


def _unless_too_soon(why: str, again: datetime | None, now: datetime) -> Assessment:
    """Leave it for later, unless that is further away than any pause: then it was another clock that said so."""
    if again is None or again <= now or again > now + LONGEST_BACKOFF:
        return Assessment(verdict=Verdict.QUEUED, why=why)
    return Assessment(verdict=Verdict.WAITING, why=f"{why}; the next try is at {again:%H:%M} UTC")
