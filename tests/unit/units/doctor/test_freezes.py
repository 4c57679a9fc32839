"""Freezes: forgotten ones and unreadable ones are warnings."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hookd import freezes
from hookd.config import Config
from hookd.model.catalogue import Catalogue
from hookd.model.decision import Freeze
from hookd.model.settings import Settings
from tests.support.apps import app
from units.doctor.checks.queue import check_freeze
from units.doctor.context import HostContext
from units.doctor.finding import Finding

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


def found(directory: Path, **table: Any) -> list[Finding]:
    config = Config(directory / "hookd.toml", Settings(), Catalogue())
    return list(check_freeze(HostContext(config.path, config, (), {}, NOW, True), app(**table)))


def frozen(directory: Path, days: float, until: datetime | None = None, **table: Any) -> list[Finding]:
    wanted = Freeze(reason="the sale", since=NOW - timedelta(days=days), until=until, by="anna")
    freezes.freeze(directory / "frozen", "shop", wanted)
    return found(directory, **table)


def test_no_finding_without_freeze(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    assert frozen(tmp_path, 20, until=NOW) == []


def test_freeze_is_ok(tmp_path: Path) -> None:
    (finding,) = frozen(tmp_path, 6.9)
    assert (finding.level, finding.message) == ("ok", "frozen since 2026-07-25 14:24 UTC by anna: the sale")


def test_long_freeze_is_a_warning(tmp_path: Path) -> None:
    (finding,) = frozen(tmp_path, 8.5)
    assert finding.level == "warning"
    assert "8 d old:" in finding.message
    assert (finding.hint or "").endswith("hookd thaw shop")


def test_ending_freeze_needs_reconciling(tmp_path: Path) -> None:
    tomorrow = NOW + timedelta(days=1)
    (finding,) = frozen(tmp_path, 1, tomorrow, reconcile={"every": 0})
    assert finding.level == "warning"
    assert "reconcile.every is 0" in finding.message
    assert [each.level for each in frozen(tmp_path, 1, tomorrow)] == ["ok"]
    assert [each.level for each in frozen(tmp_path, 1, None, reconcile={"every": 0})] == ["ok"]


def test_invalid_freeze_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "frozen").mkdir()
    (tmp_path / "frozen" / "shop").write_text("{")
    (finding,) = found(tmp_path)
    assert finding.level == "warning"
    assert "the app counts as frozen" in finding.message
