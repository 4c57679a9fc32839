"""The start of a phase on a server whose units are not there yet."""

from pathlib import Path

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.tasks import deploying, make_app
from worker.errors import ServiceMissing
from worker.phase.phases import run_build


def test_missing_place_leads_to_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update the units of older apps are missing until `hookd setup`."""
    monkeypatch.setattr("hookd.model.units.phases.PHASE_PIPES", tmp_path / "nowhere")
    monkeypatch.setattr("hookd.model.settings.BUILD_CACHE", tmp_path / "cache")
    app = make_app(tmp_path, service={"manager": "systemd", "endpoint": None})
    with deploying(tmp_path, app) as at, pytest.raises(ServiceMissing) as caught:
        run_build(at.task, at.task.paths.releases, [])
    assert caught.value.hint == Hint(HintKind.SET_UP)
