"""Starts an app's service when the host starts: `python -P -m worker.boot APP`, as the worker's user.

The journal names the current release, so neither Redis nor the git host is needed. An app's own unit cannot call this,
because it would wait for itself.
"""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd import eventlog
from hookd.config import Config
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.deployment import StepName
from hookd.model.hint import render_hint
from hookd.model.ids import new_deployment_id
from hookd.model.journal import AppState
from hookd.model.settings import Settings
from hookd.model.text import printable
from worker.context import AppTask, load_app
from worker.deploy.pipeline import recover_release
from worker.errors import AppLocked, DeployError, ProcessFailed
from worker.process.lock import app_lock
from worker.report.log import StepLog
from worker.service import processes
from worker.service.manager import control

log: Final = logging.getLogger("hookd.boot")

# A service that is down this soon after the start of circus was not stopped by an operator.
_RECENT_SECONDS: Final = 60.0


class EventSink:
    """A log whose lines are events of this program."""

    def __init__(self, app: str) -> None:
        self._app = app

    def line(self, step: str, text: str) -> None:
        """Log a line, under the name of a step if there is one."""
        event(log, "line", app=self._app, step=None if step == "hookd" else step, text=self.clean(text))

    def clean(self, text: str) -> str:
        """Escape control characters."""
        return printable(text)


def main(arguments: list[str]) -> int:
    """Start the service of an app. Return the exit status."""
    if len(arguments) != 1:
        print("usage: python -P -m worker.boot APP", file=sys.stderr)
        return 2
    eventlog.start()
    try:
        app, config = load_app(arguments[0])
    except DeployError as error:
        event(log, "not started", logging.ERROR, app=arguments[0], why=error.cause, next="hookd doctor")
        return 2
    return _start_app(app, config.settings)


def start_after_circus(config: Config, now: float) -> None:
    """Start the services of each circus that was just started, because circus starts none by itself."""
    for app in config.catalogue.apps:
        if app.service.endpoint is not None and _is_recent(app.service.endpoint, now):
            _start_app(app, config.settings)


def _is_recent(endpoint: str, now: float) -> bool:
    """Return True if circus was started a short time ago. It creates its socket at its start."""
    try:
        return now - Path(endpoint.removeprefix("ipc://")).stat().st_mtime < _RECENT_SECONDS
    except OSError:
        return False


def _start_app(app: App, settings: Settings) -> int:
    """Recover an interrupted deployment and start the current release. Return the exit status.

    A running deployment is not awaited, because it may take long, and starts nothing if it fails.
    """
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    step_log = StepLog(new_deployment_id(app.name, datetime.now(UTC)), EventSink(app.name))
    task = AppTask(app=app, settings=settings, recorder=step_log)
    try:
        with app_lock(task.paths.lock, "boot", 0):
            _recover(task)
            return _start_current(task, task.journal.state())
    except AppLocked:
        task.recorder.line("a deployment is under way and recovers an interrupted one")
        return _start_current(task, task.journal.state())


def _recover(task: AppTask) -> None:
    """Recover an interrupted deployment. The good release is started even if that fails."""
    try:
        failed = recover_release(task).error
    except DeployError as error:
        failed = error
    if failed is not None:
        _log_error(task, failed)


def _start_current(task: AppTask, state: AppState) -> int:
    """Start the service of the current release, unless its own unit does. Return the exit status."""
    is_restart = task.app.service.handover == "restart"
    if state.deployed is None:
        task.recorder.line(f"nothing is deployed yet; next: hookd deploy {task.app.name}")
    elif is_restart and task.app.uses_systemd:
        task.recorder.line(f"{task.paths.current} leads to {state.current}; its own unit starts it")
    elif not is_restart and state.colour is None:
        task.recorder.line(f"no colour serves yet; next: hookd deploy {task.app.name}")
    else:
        try:
            _start(task, state)
        except (DeployError, ProcessFailed) as error:
            _log_error(task, error)
            return 1
    return 0


def _start(task: AppTask, state: AppState) -> None:
    service = task.app.service_of(state.colour)
    with task.recorder.step(StepName.START, service):
        control(task, "start", service)
        processes.start(task, state.colour)
    if state.colour is not None:
        task.recorder.line(f"{state.colour} serves {state.current}")
        if task.journal.state().colour != state.colour:  # A deployment switched to the other colour meanwhile.
            control(task, "stop", service)
            processes.stop(task, state.colour)


def _log_error(task: AppTask, error: DeployError | ProcessFailed) -> None:
    task.recorder.line(str(error))
    if error.hint:
        task.recorder.line(f"next: {render_hint(error.hint, task.app.name, task.recorder.deployment_id)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
