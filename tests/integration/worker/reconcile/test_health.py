"""The reconciler asks the health pages of apps that serve, and publishes what it sees."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hookd.model.decision import Verdict
from hookd.model.deployment import Status
from hookd.queue.published import publish_status
from tests.support.installation import Installation, app_files
from tests.support.reconciling import decided, hookd, reconcile_app
from worker.reconcile import reconciler
from worker.reconcile.reconciler import Reconciler

APPS: dict[str, dict[str, Any]] = {
    "one": {"handover": "restart", "health": {"timeout": 0.5}},
    "two": {"handover": "blue-green", "health": {"timeout": 0.5}},
}
SICK = """
import os
def app(environ, start_response):
    sick = os.path.exists({mark!r}) and environ["PATH_INFO"] == "/healthz"
    start_response("500 Oops" if sick else "200 OK", [])
    return [b"sick"]
"""


def ship(site: Installation, app: str, mark: Path) -> None:
    files = {**app_files("one"), "wsgi.py": SICK.format(mark=str(mark))}
    assert site.ship(app, files).status is Status.SUCCEEDED


def processes(pid: int) -> list[int]:
    """Return a process and all below it."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in below for found in processes(int(child)))]


@pytest.fixture
def app(request: pytest.FixtureRequest, site: Installation) -> str:
    name: str = request.param
    if site.status(name).deployed_commit is None:
        ship(site, name, site.directory / f"{name}.sick")
    return name


@pytest.mark.threat(91)
@pytest.mark.parametrize(("app", "watcher"), [("one", "one"), ("two", "two-blue")], indirect=["app"])
def test_stopped_process_is_unhealthy(site: Installation, app: str, watcher: str) -> None:
    """The service manager calls it active, and its socket takes connections."""
    (main,) = site.circus("list", watcher)
    stopped = processes(main)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        decision = reconcile_app(site, app)
        view = site.status(app)
        problem = f"{watcher} is unhealthy: its health page gives no answer for 0.5 s"
        assert (view.healthy, view.drift, decision.verdict) == (False, problem, Verdict.UNCHANGED)
        assert decision.running == problem, "`hookd why` shows it"
        said = hookd(site, "status", app)
        assert (", unhealthy" in said, f"\n  {problem}\n" in said) == (True, True), said
        assert f"next: hookd doctor {app}" in said
        assert site.records.history(app, 1)[0].trigger == "push", "a restart would not help a hung database"
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert reconcile_app(site, app).verdict is Verdict.UNCHANGED
    assert (site.status(app).healthy, site.status(app).drift) == (True, None)
    assert len(decided(site, app)) >= 2
    assert site.circus("list", watcher) == [main]


@pytest.mark.parametrize("app", ["one", "two"], indirect=True)
def test_wrong_answer_is_published(site: Installation, app: str) -> None:
    mark = site.directory / f"{app}.sick"
    mark.touch()
    reconcile_app(site, app)
    view = site.status(app)
    assert (view.healthy, str(view.drift).endswith("its health page answered 500")) == (False, True)
    mark.unlink()
    reconcile_app(site, app)
    assert site.status(app).healthy is True


@pytest.mark.parametrize("app", ["one"], indirect=True)
def test_hung_apps_end_the_questions(site: Installation, app: str) -> None:
    """An app that was not asked keeps its health."""
    publish_status(site.records.connection, site.status(app).model_copy(update={"healthy": None}))
    found = site.config.catalogue.get(app)
    assert found is not None
    late = Reconciler(site.config, site.records, waits=[reconciler._HEALTH_SECONDS])
    late.reconcile(found)
    assert site.status(app).healthy is None
    early = Reconciler(site.config, site.records)
    early.reconcile(found)
    assert site.status(app).healthy is True
    assert len(early.waits) == 1
