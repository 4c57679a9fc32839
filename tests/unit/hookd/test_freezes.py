"""Freezes on disk: an ended one is not in force, an unreadable one is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hookd import freezes
from hookd.model.decision import Freeze
from tests.support.on_disk import noted

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
FREEZE = Freeze(reason="the sale", since=NOW, until=NOW + timedelta(hours=2), by="anna")


def test_app_without_freeze(tmp_path: Path) -> None:
    assert freezes.active_freeze(tmp_path / "frozen", "shop", NOW) is None


def test_freeze_has_app_and_end(tmp_path: Path) -> None:
    freezes.freeze(tmp_path / "frozen", "shop", FREEZE)
    assert freezes.active_freeze(tmp_path / "frozen", "shop", NOW) == FREEZE
    assert freezes.active_freeze(tmp_path / "frozen", "shop", NOW + timedelta(hours=2)) is None
    assert freezes.active_freeze(tmp_path / "frozen", "blog", NOW) is None


def test_everybody_can_read_why(tmp_path: Path) -> None:
    freezes.freeze(tmp_path, "shop", FREEZE)
    assert (tmp_path / "shop").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_freeze_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = noted(monkeypatch)
    freezes.freeze(tmp_path, "shop", FREEZE)
    assert done[-2:] == [f"replaced {tmp_path / 'shop'}", f"synced {tmp_path}"]
    freezes.thaw(tmp_path, "shop")
    assert done[-2:] == [f"removed {tmp_path / 'shop'}", f"synced {tmp_path}"]


def test_thaw_returns_if_frozen(tmp_path: Path) -> None:
    freezes.freeze(tmp_path, "shop", FREEZE)
    assert [freezes.thaw(tmp_path, "shop"), freezes.thaw(tmp_path, "shop")] == [True, False]
    assert freezes.active_freeze(tmp_path, "shop", NOW) is None


@pytest.mark.threat(42)
@pytest.mark.parametrize("content", ["", "{", '{"reason": ""}'])
def test_unreadable_freeze_is_in_force(tmp_path: Path, content: str) -> None:
    (tmp_path / "shop").write_text(content)
    found = freezes.active_freeze(tmp_path, "shop", NOW)
    assert found is not None
    assert "cannot be read" in found.reason


def test_freeze_text() -> None:
    assert str(FREEZE) == "frozen since 2026-03-04 05:06 UTC by anna until 2026-03-04 07:06 UTC: the sale"
