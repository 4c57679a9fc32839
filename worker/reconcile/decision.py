"""Weighs what a look at an app found: is a deployment asked for, and if not, why; decides only, does nothing."""

from dataclasses import dataclass
from datetime import datetime

from hookd.model.decision import Ruling, Verdict
from hookd.model.deployment import UNDONE, Deployment, Trigger
from hookd.model.eligibility import Freeze, next_for, why_not
from hookd.model.journal import AppState
from worker.reconcile.lag import missed
from worker.reconcile.schedule import LONGEST_PAUSE, next_build, next_mend, tries_for, was_in_vain
from worker.service.drift import Fault, Running


@dataclass(frozen=True)
class Found:
    """What a look at an app found: wanted, deployed, running. `head` is None, and `problem` says why, when the git
    host gave no answer; `history` begins with the newest; `start` is what a person types to start its service.
    """

    app: str
    state: AppState
    running: Running
    head: str | None = None
    problem: str = ""
    freeze: Freeze | None = None
    history: tuple[Deployment, ...] = ()
    start: str = ""


def weigh(found: Found, now: datetime) -> Ruling:
    """Decide; QUEUED means that a deployment is to be asked for."""
    if found.freeze is not None:
        return Ruling(verdict=Verdict.FROZEN, why=str(found.freeze))
    if found.running.stopped:
        return Ruling(verdict=Verdict.STOPPED, why=_stopped(found))
    if found.state.deployed is None:
        return _first(found)
    mend, bring = _mend(found, now), _bring(found, now)
    return next((one for one in (mend, bring) if one and one.verdict is Verdict.QUEUED), mend or bring)


def _stopped(found: Found) -> str:
    return f"{found.running.says}: a person did that; next: {found.start or next_for(Verdict.STOPPED, found.app)}"


def _first(found: Found) -> Ruling:
    """The first deployment is a person's: an app that is being taken over still runs elsewhere."""
    if found.head is None:
        return Ruling(verdict=Verdict.UNREACHABLE, why=found.problem)
    why = f"nothing was deployed yet, and the first time a person must say so: hookd deploy {found.app}"
    return Ruling(verdict=Verdict.WAITING, why=why)


def _mend(found: Found, now: datetime) -> Ruling | None:
    """Ask for what brings the good release back, if it does not serve as it should; whether the git host answers."""
    if found.state.verified and not found.running.faults:
        return None
    wrong = found.running.says if found.state.verified else "a deployment was interrupted after it had switched"
    if found.state.verified and all(_is_in_vain(found, fault) for fault in found.running.faults):
        return Ruling(verdict=Verdict.WAITING, why=f"{wrong}, also after it was started again: a person must look")
    return _unless_too_soon(wrong, next_mend(found.history), now)


def _is_in_vain(found: Found, fault: Fault) -> bool:
    """A service that takes requests is not started again for what that did not change."""
    return fault.kind == "release" and was_in_vain(found.history, fault.what)


def _bring(found: Found, now: datetime) -> Ruling:
    """Ask for the head, unless something speaks against it."""
    if found.head is None:
        return Ruling(verdict=Verdict.UNREACHABLE, why=found.problem)
    against = why_not(found.state, found.head, Trigger.RECONCILE)
    if against is not None:
        return against
    why = missed(found.state, found.head, _last_failure(found, found.head))
    return _unless_too_soon(why, next_build(found.history, found.head), now)


def _last_failure(found: Found, head: str) -> str:
    """Why the last try to bring the head failed, if one did: what a person can do something about."""
    last = next(iter(tries_for(found.history, head)), None)
    if last is None or not last.cause:
        return ""
    return f"{'failed' if last.status in UNDONE else 'found'}: {last.cause}"


def _unless_too_soon(why: str, again: datetime | None, now: datetime) -> Ruling:
    """Leave it for later, unless that is further away than any pause: then it was another clock that said so."""
    if again is None or again <= now or again > now + LONGEST_PAUSE:
        return Ruling(verdict=Verdict.QUEUED, why=why)
    return Ruling(verdict=Verdict.WAITING, why=f"{why}; the next try is at {again:%H:%M} UTC")
