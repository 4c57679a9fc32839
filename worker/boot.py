"""Brings an app's service up when the host starts: `python -P -m worker.boot APP`, as the worker's user.

The app's journal says what serves, so neither Redis nor the git host need to be there. Not for an app's own unit: that
would wait for itself.
"""

import logging
import math
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd import eventlog
from hookd.config import Config, ConfigError, config_path, load
from hookd.eventlog import event
from hookd.model.app import App
from hookd.model.deployment import Deployment, StepName, Trigger
from hookd.model.hint import render_hint
from hookd.model.ids import new_deployment_id
from hookd.model.journal import AppState
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from worker.context import Task
from worker.deploy.pipeline import recover_interrupted
from worker.errors import DeployError
from worker.journal import Journal
from worker.process.lock import app_lock
from worker.report.log_file import escape_control
from worker.report.recorder import Recorder
from worker.service.manager import control

log: Final = logging.getLogger("hookd.boot")

# A person stops nothing so soon after the start of a machine.
_RECENT_SECONDS: Final = 60.0


class EventSink:
    """A log whose lines are events of this program."""

    def __init__(self, app: str) -> None:
        self._app = app

    def line(self, step: str, text: str) -> None:
        """Log one line, under the name of a step if there is one."""
        event(log, "line", app=self._app, step=None if step == "hookd" else step, text=self.clean(text))

    def clean(self, text: str) -> str:
        """Make control characters visible."""
        return escape_control(text)


def main(arguments: list[str]) -> int:
    """Bring up the app that is named; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -P -m worker.boot APP", file=sys.stderr)
        return 2
    eventlog.start()
    [name] = arguments
    try:
        config = load(config_path(), only=name)
    except ConfigError as error:
        for problem in error.problems:
            event(log, "the configuration cannot be used", logging.ERROR, app=name, why=problem, next="hookd doctor")
        return 2
    app = config.catalogue.get(name)
    if app is None:
        event(log, "not started", logging.ERROR, why=f"there is no app {name!r} in the catalogue", next="hookd status")
        return 2
    return _start_app(_task(app, config.settings))


def start_after_circus(config: Config, now: float) -> None:
    """Bring up the apps whose circus was started just now: it starts nothing of theirs by itself."""
    for app in config.catalogue.apps:
        if app.service.endpoint is not None and _age(app.service.endpoint, now) < _RECENT_SECONDS:
            _start_app(_task(app, config.settings))


def _age(endpoint: str, now: float) -> float:
    """How many seconds ago circus was started, which makes its socket anew."""
    try:
        return now - Path(endpoint.removeprefix("ipc://")).stat().st_mtime
    except OSError:
        return math.inf


def _task(app: App, settings: Settings) -> Task:
    """What the steps of a deployment are given, for one that nobody asked for and nobody records."""
    now = datetime.now(UTC)
    places = AppPaths(app.root, settings, app.name)
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    nobodys = Deployment(id=new_deployment_id(app.name, now), app=app.name, trigger=Trigger.MANUAL, created_at=now)
    return Task(app, settings, places, Journal(places.journal), Recorder(nobodys, None, EventSink(app.name)), {})


def _start_app(task: Task) -> int:
    with ExitStack() as held:
        if _takes_lock(task, held):
            _recover(task)
        try:
            _start_current(task, task.journal.state())
        except DeployError as error:
            _log_error(task, error)
            return 1
    return 0


def _takes_lock(task: Task, held: ExitStack) -> bool:
    """Take the app's lock, if it is free.

    A deployment that holds it is not waited for: it may take long, and when it fails it starts nothing.
    """
    try:
        held.enter_context(app_lock(task.places.lock, "boot", 0))
    except DeployError:
        task.recorder.line("a deployment is under way; what an earlier one left open is in its hands")
        return False
    return True


def _recover(task: Task) -> None:
    """Finish what a killed deployment left open; where that fails, the good release is started all the same."""
    try:
        recover_interrupted(task)
    except DeployError as error:
        _log_error(task, error)


def _start_current(task: Task, state: AppState) -> None:
    if state.deployed is None:
        task.recorder.line(f"nothing is deployed yet; next: hookd deploy {task.app.name}")
    elif task.app.service.handover == "restart" and task.app.service.manager == "circus":
        _start(task, task.app.service_name)
    elif task.app.service.handover == "restart":
        task.recorder.line(f"{task.places.current} leads to {state.current}; its own unit starts it")
    elif state.colour is None:
        task.recorder.line(f"no colour serves yet; next: hookd deploy {task.app.name}")
    else:
        _start(task, f"{task.app.service_name}-{state.colour}")
        task.recorder.line(f"{state.colour} serves {state.current}")
        if task.journal.state().colour != state.colour:  # A deployment handed over to the other one meanwhile.
            control(task, "stop", f"{task.app.service_name}-{state.colour}")


def _start(task: Task, service: str) -> None:
    with task.recorder.step(StepName.START, service):
        control(task, "start", service)


def _log_error(task: Task, error: DeployError) -> None:
    task.recorder.line(error.cause)
    if error.hint:
        task.recorder.line(f"next: {render_hint(error.hint, task.app.name, task.deployment.id)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
