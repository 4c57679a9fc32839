"""The processes beside an app's web process: their handover from one release to the next, and their repair.

systemd restarts one that ends. It gives up after ten starts in five minutes, which is a drift.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from hookd.model.deployment import StepName
from hookd.model.tables.processes import stop_seconds
from hookd.model.tables.service import Colour
from hookd.model.units.processes import process_groups, processes_of
from hookd.model.units.systemctl import GroupVerb
from worker.context import AppTask
from worker.errors import CommandFailed, DeployError, ProcessFailed, ProcessKilled, ReleaseKilled
from worker.process.systemctl import group_command
from worker.service.manager import control, read_service_state
from worker.service.process_watch import failure_of, states, wait_until_steady

# systemd needs them besides, for the end of all that a process has left.
_GRACE_SECONDS: Final = 30


def hand_over(task: AppTask, old: Colour | None, new: Colour | None, detail: str) -> None:
    """Stop the old processes that must not overlap with new ones, start the new ones and watch them.

    `detail` is that of the step. Raises ProcessFailed if one of them does not stay up, and ReleaseKilled for a reason
    that proves nothing about the commit.
    """
    if not task.app.processes:
        return
    with task.recorder.step(StepName.PROCESSES, detail):
        try:
            for group in process_groups(task.app, old):
                if old == new or group == processes_of(task.app, old, overlap=False):
                    _stop(task, group)
        except CommandFailed as error:
            raise ReleaseKilled(f"the old processes cannot be stopped: {error.cause}") from None
        try:
            _start_and_watch(task, new)
        except ProcessKilled as error:
            task.recorder.line(f"{error}, so they are started once more")
            try:
                _start_and_watch(task, new)
            except ProcessKilled as again:
                raise ReleaseKilled(f"{again}, in two starts, probably from outside") from None


def _start_and_watch(task: AppTask, colour: Colour | None) -> None:
    if start(task, colour):
        wait_until_steady(processes_of(task.app, colour), task.app.health.steady)


def start(task: AppTask, colour: Colour | None) -> bool:
    """Start the processes of a colour that do not run. Raises ProcessFailed.

    Return False if there are none, or if its web service is down: a person has stopped the app.
    """
    groups = tuple(process_groups(task.app, colour))
    if not groups:
        return False
    service = task.app.service_of(colour)
    if not read_service_state(task.app, service).is_up:
        task.recorder.line(f"{service} does not run, so its processes stay down")
        return False
    for group in groups:
        _start(task, group)
    return True


def _start(task: AppTask, group: Sequence[str]) -> None:
    try:
        _control(task, "start", group)
    except CommandFailed:
        _reset(task, group)  # Perhaps systemd counts too many starts.
        try:
            _control(task, "start", group)
        except CommandFailed as error:
            raise failure_of(group, error.cause) from None


def repair(task: AppTask, colour: Colour | None, detail: str) -> None:
    """Start the processes that are down, and watch them. Raises ProcessFailed."""
    with task.recorder.step(StepName.PROCESSES, detail):
        _start_and_watch(task, colour)


def stop(task: AppTask, colour: Colour | None) -> None:
    """Stop the processes of a colour and wait for their end, at most for their patience. Raises CommandFailed."""
    for group in process_groups(task.app, colour):
        _stop(task, group)


def restart_also(task: AppTask) -> str | None:
    """Restart the operator's own services that work in the app's directory. Return the reason of a failure.

    The release serves in any case.
    """
    failed = []
    for name in task.app.service.restart_also:
        try:
            with task.recorder.step(StepName.RESTART_ALSO, name):
                control(task, "restart", name)
                if task.app.uses_systemd:
                    wait_until_steady((f"{name}.service",), task.app.health.steady)
        except (DeployError, ProcessFailed) as error:
            failed.append(f"{name} did not restart well: {error}")
    return "; ".join(failed) or None


def _stop(task: AppTask, group: Sequence[str]) -> None:
    """Stop a group, and say which of its processes were killed. A killed one counts as failed until it is reset."""
    _control(task, "stop", group)
    killed = [unit for unit, found in states(group).items() if found.get("Result") == "timeout"]
    for unit in killed:
        task.recorder.line(f"warning: {unit} did not end in its stop_seconds and was killed")
    if killed:
        _reset(task, group)


def _reset(task: AppTask, group: Sequence[str]) -> None:
    """Let systemd forget failures and starts. It reports units that it has forgotten already."""
    with suppress(CommandFailed):
        _control(task, "reset-failed", group, lambda line: False)


def _control(task: AppTask, verb: GroupVerb, group: Sequence[str], is_logged: Callable[[str], bool] = bool) -> None:
    seconds = stop_seconds(task.app) + _GRACE_SECONDS if verb == "stop" else task.app.limits.step_seconds
    task.run(group_command(verb, group, seconds), is_logged)
