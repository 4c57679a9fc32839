"""The notes and the kept backup of release commands that do not run."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hookd.model.journal import AppState, JournalEvent, ReleaseCommandsNotRun, ReleaseCommandsRun
from worker.deploy import release_phase
from worker.errors import ServiceMissing

COMMIT = "a" * 40
STAMP: dict[str, Any] = {"at": datetime(2026, 3, 4, tzinfo=UTC), "deployment": "shop-20260304T050607000-0a1b2c"}


def fail(*_: object) -> None:
    raise ServiceMissing("no unit")


@pytest.mark.threat(89)
@pytest.mark.parametrize("earlier", [None, ReleaseCommandsRun(**STAMP, commit=COMMIT, finished=True)])
def test_unstarted_commands_change_no_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: ReleaseCommandsRun | None
) -> None:
    """An earlier run that ended well counts on, so that no automatic deployment repeats it."""
    monkeypatch.setattr(release_phase, "run_release_commands", fail)
    notes: list[JournalEvent] = []
    task: Any = SimpleNamespace(
        paths=SimpleNamespace(clean_backup=tmp_path / "clean-backup", release=lambda name: tmp_path / name),
        journal=SimpleNamespace(add=notes.append),
        stamp=lambda: STAMP,
    )
    with pytest.raises(ServiceMissing):
        release_phase._run_commands(task, COMMIT, "000002-aaaaaaaaaaaa", earlier, "000002-aaaaaaaaaaaa")
    assert notes[-1] == (earlier or ReleaseCommandsNotRun(**STAMP, commit=COMMIT))
    assert not (tmp_path / "clean-backup").is_symlink(), "nothing has failed"


def test_backup_of_removed_commands_goes(tmp_path: Path) -> None:
    """An app that lost its release commands needs the backup from before their failure no more."""
    clean = tmp_path / "clean-backup"
    clean.symlink_to("000001-aaaaaaaaaaaa")
    task: Any = SimpleNamespace(
        app=SimpleNamespace(release=SimpleNamespace(commands=())), paths=SimpleNamespace(clean_backup=clean)
    )
    release_phase.run_release_phase(task, AppState(), COMMIT, "000002-aaaaaaaaaaaa")
    assert not clean.is_symlink()
