"""A freeze's end as it is typed: durations, and dates with and without a zone."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hookd.cli.freeze import format_time, parse_time
from hookd.cli.person import current_user

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host whose zone is two hours ahead of UTC, all year."""
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("30m", NOW + timedelta(minutes=30)),
        ("2h", NOW + timedelta(hours=2)),
        (" 3d ", NOW + timedelta(days=3)),
        ("2026-12-24 18:00", datetime(2026, 12, 24, 16, 0, tzinfo=UTC)),
        ("2026-12-24T18:00:30", datetime(2026, 12, 24, 16, 0, 30, tzinfo=UTC)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, 0, tzinfo=UTC)),
        ("2026-12-24 18:00+05:00", datetime(2026, 12, 24, 13, 0, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 23, 22, 0, tzinfo=UTC)),
    ],
)
def test_times_are_parsed(text: str, end: datetime) -> None:
    assert parse_time(text, NOW) == end


@pytest.mark.parametrize(
    "text", ["", "2", "0h", "-2h", "2w", "2h30m", "tomorrow", "18:00", "24.12.2026", "٣h", "9" * 99]
)
def test_invalid_times_are_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: 30m, 2h, 3d, or '2026"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59-23:59"])
def test_times_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|is in the past"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["2026-03-04 07:06", "2026-03-04T05:06:07Z", "1999-01-01"])
def test_past_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is in the past, now is 2026-03-04 05:06 UTC \(2026-03-04 07:06 EET\)"):
        parse_time(text, NOW)


def test_times_show_utc_and_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert format_time(NOW) == "2026-03-04 05:06 UTC (2026-03-04 07:06 EET)"
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert format_time(NOW) == "2026-03-04 05:06 UTC"


def test_sudo_user_counts_for_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert current_user() == "anna"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert current_user() != "anna"
