"""Harmful commits and process managers: records stay clean, and only a bad commit is quarantined."""

import shutil

import pytest

from hookd.model.deployment import Status
from hookd.queue.published import AppStatusStore
from tests.support.installation import Installation, app_files

SECRET = "hunter2-but-longer"
APPS = {
    "leak": {"build": {"environment": {"MY_TOKEN": SECRET}}},
    "lost": {"service": {"name": "nobody-knows-me"}},
    "lost-one": {"handover": "restart", "service": {"name": "nobody-knows-me-either"}},
    "deep": {},
}


def test_secret_in_app_error(site: Installation) -> None:
    bad = 'import os\nraise RuntimeError("\\x1b]0;title\\x07" + os.environ["MY_TOKEN"])\n'
    record = site.ship("leak", {**app_files("one"), "wsgi.py": bad})
    again = site.push_and_wait("leak")
    assert (record.status, again.status) == (Status.FAILED, Status.UNCHANGED)
    journal = (site.directory / "state" / "journals" / "leak.jsonl").read_text()
    view = AppStatusStore(site.records.connection).read("leak").model_dump_json()
    for text in (journal, view, record.model_dump_json(), again.model_dump_json(), site.log_of(record)):
        assert SECRET not in text
        assert "\\u001b" not in text
        assert "\x1b" not in text
    assert "***" in journal


@pytest.mark.parametrize("app", ["lost", "lost-one"])
def test_unknown_service(site: Installation, app: str) -> None:
    record = site.ship(app, app_files("one"))
    assert record.status is Status.FAILED
    assert "circus knows no service nobody-knows-me" in (record.cause or "")
    assert AppStatusStore(site.records.connection).read(app).quarantined == ()


@pytest.mark.threat(60)
def test_path_of_thousand_levels(site: Installation) -> None:
    repository = site.repositories["deep"]
    files = {**app_files("one"), "d/" * 150 + "file": "deep"}
    assert "levels" in (site.ship("deep", files).cause or "")
    shutil.rmtree(repository.work / "d")
    assert site.ship("deep", app_files("two")).status is Status.SUCCEEDED
