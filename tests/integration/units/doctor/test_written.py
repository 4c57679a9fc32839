"""The doctor names files that an app wrote into its releases, with the size of those that are kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hookd.config import Config
from hookd.model.catalogue import Catalogue
from hookd.model.ids import new_deployment_id
from hookd.model.journal import Written
from hookd.model.settings import Settings
from hookd.model.written import WrittenFiles
from tests.support.apps import app
from tests.support.journals import deployed
from units.doctor.checks import written
from units.doctor.context import HostContext
from units.doctor.finding import Finding
from worker.journal import Journal

FILES = {"release": "000001-111111111111", "number": 1, "paths": ["data/x"], "directories": ["data"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(state=tmp_path / "state")
    journal = settings.journal_path("shop")
    deployed(journal, "1" * 40)
    return settings


def found(settings: Settings, directory: Path, files: dict[str, Any], **over: Any) -> list[Finding]:
    """Write files into the journal, and run the check."""
    at = datetime.now(UTC)
    event = Written(at=at, deployment=new_deployment_id("shop", at), files=WrittenFiles.model_validate(files))
    Journal(settings.journal_path("shop")).add(event)
    config = Config(Path("/x"), settings, Catalogue())
    context = HostContext(Path("/x"), config, (), {}, at, is_root=True)
    return list(written.check_app(context, app(root=str(directory / "srv"), **over)))


def test_files_in_a_release(settings: Settings, tmp_path: Path) -> None:
    (one,) = found(settings, tmp_path, FILES)
    assert one.level == "warning"
    assert one.hint == "sudo hookd app edit shop --set 'shared.directories=[\"data\"]'"
    assert found(settings, tmp_path, FILES, shared={"directories": ["data"]}) == []
    (among_code,) = found(settings, tmp_path, {**FILES, "directories": []})
    assert among_code.hint == f"sudo ls -l {tmp_path}/srv/releases/{FILES['release']}/data/x"


def test_kept_files_have_a_size(settings: Settings, tmp_path: Path) -> None:
    kept = tmp_path / "srv" / "releases" / ".kept" / "000001-111111111111" / "data"
    kept.mkdir(parents=True)
    (kept / "x").write_bytes(b"x" * 3 * 1024 * 1024)
    (kept / "away").symlink_to("/usr")
    (one,) = found(settings, tmp_path, {**FILES, "kept": True}, shared={"directories": ["data"]})
    assert (one.level, "2 files" in one.message, "3.0 MiB" in one.message) == ("warning", True, True)
    assert f"rm -r {kept.parent.parent}" in (one.hint or "")
