"""The warning about a configuration of gunicorn in a release, which a server's units do not read."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.tasks import deploying, make_app
from worker.deploy.build import warn_of_unread_configuration

SYSTEMD: dict[str, Any] = {"manager": "systemd", "endpoint": None}


@pytest.mark.parametrize(
    ("service", "file", "is_warned"),
    [(SYSTEMD, "gunicorn.conf.py", True), (SYSTEMD, "wsgi.py", False), ({}, "gunicorn.conf.py", False)],
    ids=["server", "without one", "circus"],
)
def test_unread_configuration_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: dict[str, Any], file: str, is_warned: bool
) -> None:
    monkeypatch.setattr("hookd.model.settings.BUILD_CACHE", tmp_path / "cache")
    release = tmp_path / "release"
    release.mkdir()
    (release / file).touch()
    with deploying(tmp_path, make_app(tmp_path, service=service)) as at:
        warn_of_unread_configuration(at.task, release)
        assert ("gunicorn.conf.py" in at.text) is is_warned
