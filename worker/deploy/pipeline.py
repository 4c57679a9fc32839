"""One deployment from top to bottom: recover, fetch, decide, build, check, switch, verify, prune."""

import logging
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol, Self

from rq.timeouts import JobTimeoutException

from hookd import freezes
from hookd.eventlog import event
from hookd.files.ownership.policies import Policy, umask_of
from hookd.model.app import App
from hookd.model.decision import Assessment, Verdict, remedy_hint
from hookd.model.deployment import Status, StepName, Trigger
from hookd.model.hint import AnyHint, Hint, HintKind
from hookd.model.journal import AppState, Pinned, Unpinned
from hookd.model.units.phases import build_user
from worker.context import AppTask, Task
from worker.deploy import blue_green, restart
from worker.deploy.build import build, check
from worker.deploy.release_phase import quarantine_interrupted, run_release_phase
from worker.deploy.repair import RepairResult, RollbackResult, repair
from worker.deploy.retention import prune, prune_incomplete
from worker.deploy.target import (
    Target,
    choose_target,
    count_crash,
    pin_event,
    quarantine_crash_loop,
    quarantine_event,
    reason_against,
    was_killed_too_often,
)
from worker.deploy.written import report_written
from worker.errors import (
    BAD_RELEASE,
    CommitRefused,
    DeployError,
    ProcessFailed,
    ReleaseKilled,
    RollbackFailed,
    RolledBack,
    SwitchNotRecorded,
)
from worker.phase.phases import recover_phases
from worker.process.lock import app_lock
from worker.release.disk_space import check_free_space, flush
from worker.release.git_mirror import GitMirror
from worker.release.ownership import make_directories, release_policy
from worker.report.cause import health_cause
from worker.report.status import StatusPublisher, publishing
from worker.service.manager import service_log_hint
from worker.service.processes import restart_also

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """The result of a deployment.

    `cause` is one sentence, `hint` the next command, and `head` the tip of the branch if it was fetched. `healthy` is
    True if the app answers, and None if that was not checked.
    """

    status: Status
    cause: str | None = None
    hint: AnyHint | None = None
    healthy: bool | None = None
    verdict: Verdict = Verdict.ENDED
    head: str | None = None

    @classmethod
    def of(cls, error: DeployError) -> Self:
        """Return the ending that an error names."""
        return cls(error.ending, error.cause, error.hint or Hint(HintKind.SHOW_LOG), error.healthy, error.verdict)


class Handover(Protocol):
    """A change from the old processes to the new: the module `restart` or `blue_green`."""

    ROLLBACK_FAILURE: str

    def switch(self, task: Task, state: AppState, name: str, pin: Pinned | None) -> None: ...
    def new_service(self, app: App, state: AppState) -> str: ...
    def go_back(self, task: Task, state: AppState) -> RollbackResult | None: ...
    def recover(self, task: AppTask, state: AppState) -> RepairResult: ...


def run_pipeline(task: Task, status: StatusPublisher) -> Ending:
    """Bring the app to the head of its branch, or to the commit that an operator chose, and return the ending.

    All expected errors become endings. Others are raised.
    """
    try:
        with app_lock(task.paths.lock, task.deployment.id, task.app.limits.lock_seconds):
            policy = release_policy(task.app.ownership, builder=build_user(task.app))
            os.umask(umask_of(task.app.ownership))
            make_directories(task, policy)
            ending = _deploy_locked(task, policy, status)
            with publishing(task.app.name):
                status.publish(task.app.name, task.journal.state(), healthy=ending.healthy)
            return ending
    except (DeployError, JobTimeoutException, OSError) as error:
        return _failed(task, error)


def _deploy_locked(task: Task, policy: Policy, status: StatusPublisher) -> Ending:
    head: str | None = None
    try:
        recovered = recover_interrupted(task)
        state = _unpin(task, task.journal.state())
        recover_phases(task)
        prune_incomplete(task, state)
        with task.recorder.step(StepName.DISK_SPACE):
            check_free_space(task)
        mirror = GitMirror(task.app, task.settings, task.recorder.line)
        with task.recorder.step(StepName.FETCH):
            head = mirror.fetch_head()
            target = choose_target(task, state, mirror, head)
        status.publish(task.app.name, state, head=head)
        state = quarantine_crash_loop(task, state, target.commit)
        state = quarantine_interrupted(task, state, target.commit)
        reason = reason_against(task, state, target, mirror)
        if reason is not None:
            ending = _repair_ending(task, recovered) or _unchanged(reason)
        else:
            with count_crash(task.paths.crash_count, target.commit):
                name = _build_and_check(task, state, target, mirror, policy)
                ending = _switch_and_verify(task, target, name)
    except (DeployError, JobTimeoutException, OSError) as error:
        ending = _failed(task, error)
    return replace(ending, head=head)


def recover_interrupted(task: Task) -> RepairResult:
    """Finish an interrupted deployment. A reconcile deployment also repairs drift.

    A newer commit is deployed also after a failed repair.
    """
    is_reconcile = task.deployment.trigger is Trigger.RECONCILE
    repaired = repair(task, task.journal.state()) if is_reconcile else RepairResult()
    if repaired.error is not None:
        return repaired  # With blue-green, the idle service may now be the only one that answers.
    recovered = recover_release(task)
    healthy = repaired.healthy or recovered.healthy
    return replace(recovered, repaired=repaired.repaired + recovered.repaired, healthy=healthy)


def _handover(app: App) -> Handover:
    return restart if app.service.handover == "restart" else blue_green


def recover_release(task: AppTask) -> RepairResult:
    """Finish an interrupted deployment, so that only a release with a passed health check serves."""
    return _handover(task.app).recover(task, task.journal.state())


def _unpin(task: Task, state: AppState) -> AppState:
    if task.deployment.trigger is not Trigger.UNPIN or state.pin is None:
        return state
    task.recorder.line(f"no longer pinned to {state.pin.commit}")
    return task.journal.add(Unpinned(**task.stamp()))


def _build_and_check(task: Task, state: AppState, target: Target, mirror: GitMirror, policy: Policy) -> str:
    """Return the name of the release to switch to: the existing one for a rollback, or a new one."""
    if target.release is not None:
        name = target.release.name
    else:
        try:
            new = build(task, state, target, mirror, policy)
            check(task, new, target, policy)
            name = new.name
        except CommitRefused as error:
            task.journal.add(quarantine_event(task, target.commit, task.cause_of(error), error.fault, served=False))
            raise
    task.recorder.update(release=name)
    return name


def _switch_and_verify(task: Task, target: Target, name: str) -> Ending:
    """Run the release commands, let the release serve, check its health and prune. Rolls back a bad release."""
    try:
        # A build takes minutes, and the app may have been frozen meanwhile. Release commands cannot be undone.
        freeze = freezes.active_freeze(task.freeze_directory, task.app.name, datetime.now(UTC))
        if freeze is not None:
            return _unchanged(Assessment(verdict=Verdict.FROZEN, why=str(freeze)))
        run_release_phase(task, task.journal.state(), target.commit, name)
        with task.recorder.step(StepName.FLUSH):
            flush(task, task.paths.release(name))
        state = task.journal.state()
        _hand_over(task, state, target, name)
        task.cancel_timeout()
        report_written(task, state.deployed)
        cause = restart_also(task)
    finally:
        task.cancel_timeout()
        with task.recorder.step(StepName.PRUNE):
            prune(task)
    return Ending(Status.SUCCEEDED, cause, Hint(HintKind.SHOW_LOG) if cause else None, healthy=True)


def _hand_over(task: Task, state: AppState, target: Target, name: str) -> None:
    """Switch to a release. Raises DeployError if it is bad, or if the system refuses the switch."""
    handover = _handover(task.app)
    try:
        handover.switch(task, state, name, pin_event(task, target))
    except OSError as error:  # For example a full disk.
        task.cancel_timeout()
        kind, cause = DeployError, "nothing was switched"
        if task.journal.state().current == name:
            kind, cause = SwitchNotRecorded, f"{name} serves, but the journal cannot be written"
        raise kind(f"{cause}: {error}", hint=Hint(HintKind.DEPLOY)) from None
    except BAD_RELEASE as error:
        task.cancel_timeout()
        found = health_cause(task.cause_of(error), task.app)
        own = error.hint if isinstance(error, ProcessFailed) else found.hint
        hint = own or service_log_hint(task, handover.new_service(task.app, state))
        task.recorder.line(f"the new release is bad: {found.text}")
        was_killed = isinstance(error, ReleaseKilled) and not was_killed_too_often(task, target.commit)
        if not was_killed:
            is_first = not any(release.good for release in state.releases)
            event = quarantine_event(task, target.commit, found.text, found.fault, served=True, is_first=is_first)
            task.try_journal(event)
        ending = _roll_back(task, state, handover, found.text, hint)
        ending.was_killed = was_killed
        raise ending from None


def _roll_back(task: Task, state: AppState, handover: Handover, cause: str, hint: Hint) -> DeployError:
    """Go back from a bad release, and return the error of the deployment."""
    try:
        rollback = handover.go_back(task, state)
    except (*BAD_RELEASE, OSError) as failure:
        return RollbackFailed(f"{cause}; {handover.ROLLBACK_FAILURE}: {task.cause_of(failure)}", hint=hint)
    if rollback is None:
        return DeployError(f"the first release is bad: {cause}", hint=hint, healthy=False)
    return RolledBack(f"{cause}; {rollback.summary}", hint=hint, healthy=rollback.healthy)


def _repair_ending(task: Task, recovered: RepairResult) -> Ending | None:
    """Return the ending of a reconcile deployment that repaired drift. Raises the error of a failed repair."""
    if recovered.error is not None:
        raise recovered.error
    if not recovered.repaired or task.deployment.trigger is not Trigger.RECONCILE:
        return None
    return Ending(Status.SUCCEEDED, f"repaired: {'; '.join(recovered.repaired)}", healthy=recovered.healthy)


def _unchanged(reason: Assessment) -> Ending:
    hint = remedy_hint(reason.verdict, needs_fix=reason.needs_fix)
    return Ending(Status.UNCHANGED, reason.why, hint, verdict=reason.verdict)


def _failed(task: Task, error: DeployError | JobTimeoutException | OSError) -> Ending:
    """Return the ending of a failed deployment."""
    if isinstance(error, DeployError):
        return Ending.of(error)
    cause = task.cause_of(error)
    if isinstance(error, OSError):
        event(log, "refused by the system", logging.ERROR, trace=True, deployment=task.deployment.id)
        cause = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    return Ending(Status.FAILED, cause, Hint(HintKind.SHOW_LOG))
