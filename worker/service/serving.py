"""Ask the health page of a serving release once, and tell a suspended process from one that hangs.

A hung database makes an app silent, too. A restart would not end that, and a new process takes no requests before its
health page answers. So only a suspended process is a drift.
"""

import time
from dataclasses import replace

from hookd.model.app import App
from hookd.model.tables.service import Colour
from worker.errors import CommandFailed
from worker.service.disturbance import is_suspended
from worker.service.drift import Drift, DriftReport, ServiceState, Serving
from worker.service.health import Answer, ask
from worker.service.listener import find_stranger
from worker.service.manager import read_service_state


def with_health(app: App, colour: Colour | None, report: DriftReport) -> DriftReport:
    """Return the report with the health of the service that serves.

    A service that does not run, has just started or cannot be asked has no health.
    """
    serving = report.serving
    if serving is None or _is_starting(app, serving.state):
        return report
    answer = ask(app.health, colour, app.health.timeout)
    if answer.is_healthy:
        stranger = find_stranger(app)
        return replace(report, is_healthy=stranger is None, summary=stranger or report.summary)
    try:
        if answer.is_unknown or _has_changed(app, serving):
            return report
        return _with_problem(app, report, serving, answer)
    except CommandFailed:
        return report


def _is_starting(app: App, state: ServiceState) -> bool:
    """Return True while a deployment would wait for the first healthy answer."""
    return state.started is not None and 0 <= time.time() - state.started < app.health.deadline


def _has_changed(app: App, serving: Serving) -> bool:
    """Return True if the service was stopped or restarted meanwhile."""
    now = read_service_state(app, serving.name)
    return (now.is_up, now.started) != (True, serving.state.started)


def _with_problem(app: App, report: DriftReport, serving: Serving, answer: Answer) -> DriftReport:
    problem, drifts = f"{serving.name} is unhealthy: its health page {answer.text}", report.drifts
    if answer.is_silent and is_suspended(app, serving.name):
        problem = f"{serving.name} is suspended: it does not answer and uses no processor time"
        drifts = (*drifts, Drift("suspended", serving.name, serving.release, problem))
    summary = f"{report.summary}; {problem}" if report.drifts else problem
    return replace(report, summary=summary, drifts=drifts, is_healthy=False)
