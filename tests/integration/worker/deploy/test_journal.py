"""A full disk during a handover: the ending names the release that serves."""

import errno
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.ids import new_deployment_id
from hookd.model.journal import AppState, Good, JournalEvent, Quarantined, Switched
from tests.support.installation import Installation, app_files
from tests.support.visitors import visitors
from worker.context import Task
from worker.deploy.pipeline import Ending, run_pipeline
from worker.journal import Journal
from worker.report.log import LogFile, Recorder, Redaction
from worker.report.status import StatusPublisher

APPS: dict[str, dict[str, Any]] = {
    "bg": {"handover": "blue-green", "health": {"deadline": 8}},
    "one": {"handover": "restart", "health": {"deadline": 8}},
}


class Full(Journal):
    """A journal whose disk is full for some kinds of events."""

    def __init__(self, path: Path, *refused: type[JournalEvent]) -> None:
        super().__init__(path)
        self._refused = refused

    def add(self, *events: JournalEvent) -> AppState:
        """Write events, or raise OSError for a refused kind."""
        if any(isinstance(event, self._refused) for event in events):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().add(*events)


@dataclass(frozen=True, kw_only=True)
class FullTask(Task):
    """A deployment whose journal refuses some kinds of events."""

    refused: tuple[type[JournalEvent], ...]

    @cached_property
    def journal(self) -> Journal:
        """Return the app's journal."""
        return Full(self.paths.journal, *self.refused)


@pytest.mark.threat(30)
@pytest.mark.parametrize("app", APPS)
def test_switch_without_journal(site: Installation, app: str) -> None:
    """Nothing is switched, and the old release serves on."""
    good, text = _good(site, app)
    ended = _deploy(site, app, app_files("new"), Switched)
    assert ended.cause == "nothing was switched: [Errno 28] No space left on device"
    assert (_answers(site, app), site.current(app)) == ({text}, good)
    assert not list(site.root(app).glob(".current.*"))
    _next_serves(site, app)


def test_good_release_without_journal(site: Installation) -> None:
    """The new release serves, and an operator must check."""
    app = "one"
    _good(site, app)
    ended = _deploy(site, app, app_files("new"), Good)
    assert ended.status is Status.ROLLBACK_FAILED
    assert (_answers(site, app), site.current(app).name) == ({"new"}, _newest(site, app))
    assert _newest(site, app) in str(ended.cause)
    _next_serves(site, app)


@pytest.mark.threat(30)
@pytest.mark.parametrize(
    ("app", "refused"), [("bg", (Quarantined,)), ("bg", (Quarantined, Good)), ("one", (Quarantined, Good))]
)
def test_rollback_without_journal(site: Installation, app: str, refused: tuple[type[JournalEvent], ...]) -> None:
    good, text = _good(site, app)
    ended = _deploy(site, app, app_files("bad", "500 Oops"), *refused)
    assert ended.status is Status.ROLLED_BACK
    assert (_answers(site, app), site.current(app)) == ({text}, good)
    _next_serves(site, app)


def _good(site: Installation, app: str) -> tuple[Path, str]:
    """Deploy a good release unless one serves, and return its directory and its page."""
    if not (site.root(app) / "current").exists():
        assert site.ship(app, app_files("good")).status is Status.SUCCEEDED
    return site.current(app), site.serving(app)


def _deploy(site: Installation, app: str, files: dict[str, str | bytes | None], *refused: type[JournalEvent]) -> Ending:
    """Deploy without queue and worker, and return the ending."""
    site.repositories[app].commit_and_push(files)
    config = site.config
    found = config.catalogue.get(app)
    assert found is not None
    now = datetime.now(UTC)
    record = Deployment(id=new_deployment_id(app, now), app=app, trigger=Trigger.PUSH, created_at=now, started_at=now)
    umask = os.umask(0o022)
    try:
        with LogFile(config.settings.log_path(app, record.id), Redaction({})) as log:
            task = FullTask(
                app=found,
                settings=config.settings,
                refused=refused,
                recorder=Recorder(record, site.records, log),
                build_variables={},
                service_variables={},
                freeze_directory=config.freeze_directory,
            )
            return run_pipeline(task, StatusPublisher(site.records.connection))
    finally:
        os.umask(umask)


def _newest(site: Installation, app: str) -> str:
    return max(path.name for path in (site.root(app) / "releases").iterdir())


def _next_serves(site: Installation, app: str) -> None:
    text = f"better than {_newest(site, app)}"
    better = site.ship(app, app_files(text))
    assert (better.status, _answers(site, app)) == ("succeeded", {text})
    assert site.current(app).name == better.release


def _answers(site: Installation, app: str) -> set[str]:
    """Return the answers to more visitors than one release can serve at a time."""
    with visitors(site.ports[app], 4) as crowd:
        crowd.wait_for_more(40)
    assert crowd.failures == []
    return crowd.pages
