"""Freezes on disk: what is written is read, one that is over does not hold, one that cannot be read does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hookd import freezes
from hookd.model.eligibility import Freeze
from tests.support.on_disk import noted

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
FREEZE = Freeze(reason="the sale", since=NOW, until=NOW + timedelta(hours=2), by="anna")


def test_an_app_that_nobody_froze_is_not_frozen(tmp_path: Path) -> None:
    assert freezes.active_freeze(tmp_path / "frozen", "shop", NOW) is None


def test_a_freeze_holds_until_its_end_and_for_its_app_alone(tmp_path: Path) -> None:
    freezes.freeze(tmp_path / "frozen", "shop", FREEZE)
    assert freezes.active_freeze(tmp_path / "frozen", "shop", NOW) == FREEZE
    assert freezes.active_freeze(tmp_path / "frozen", "shop", NOW + timedelta(hours=2)) is None
    assert freezes.active_freeze(tmp_path / "frozen", "blog", NOW) is None


def test_everybody_can_read_why(tmp_path: Path) -> None:
    freezes.freeze(tmp_path, "shop", FREEZE)
    assert (tmp_path / "shop").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_freezing_and_thawing_are_on_disk_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = noted(monkeypatch)
    freezes.freeze(tmp_path, "shop", FREEZE)
    assert done[-2:] == [f"replaced {tmp_path / 'shop'}", f"synced {tmp_path}"]
    freezes.thaw(tmp_path, "shop")
    assert done[-2:] == [f"removed {tmp_path / 'shop'}", f"synced {tmp_path}"]


def test_thawing_tells_whether_there_was_something_to_thaw(tmp_path: Path) -> None:
    freezes.freeze(tmp_path, "shop", FREEZE)
    assert [freezes.thaw(tmp_path, "shop"), freezes.thaw(tmp_path, "shop")] == [True, False]
    assert freezes.active_freeze(tmp_path, "shop", NOW) is None


@pytest.mark.threat(42)
@pytest.mark.parametrize("content", ["", "{", '{"reason": ""}'])
def test_a_freeze_that_cannot_be_read_holds(tmp_path: Path, content: str) -> None:
    (tmp_path / "shop").write_text(content)
    found = freezes.active_freeze(tmp_path, "shop", NOW)
    assert found is not None
    assert "cannot be read" in found.reason


def test_a_freeze_says_who_why_and_until_when() -> None:
    assert str(FREEZE) == "frozen since 2026-03-04 05:06 UTC by anna until 2026-03-04 07:06 UTC: the sale"
