"""What a person may type as a freeze's end: spans, dates with and without a zone, and what is over already."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hookd.cli.freeze import InvalidTime, current_user, format_time, parse_time

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def somewhere_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host whose zone is not UTC; two hours ahead, all year."""
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
def test_a_moment_to_come_is_read(text: str, end: datetime) -> None:
    assert parse_time(text, NOW) == end


@pytest.mark.parametrize(
    "text", ["", "2", "0h", "-2h", "2w", "2h30m", "tomorrow", "18:00", "24.12.2026", "٣h", "9" * 99]
)
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidTime, match="is no moment: 30m, 2h, 3d, or a date"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59-23:59"])
def test_a_moment_that_no_clock_reaches_is_refused(text: str) -> None:
    with pytest.raises(InvalidTime):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["2026-03-04 07:06", "2026-03-04T05:06:07Z", "1999-01-01"])
def test_what_is_over_is_refused_and_says_how_late_it_is(text: str) -> None:
    with pytest.raises(InvalidTime, match=r"is over already; it is 2026-03-04 05:06 UTC \(2026-03-04 07:06 EET\) now"):
        parse_time(text, NOW)


def test_a_moment_is_shown_in_utc_and_as_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    assert format_time(NOW) == "2026-03-04 05:06 UTC (2026-03-04 07:06 EET)"
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert format_time(NOW) == "2026-03-04 05:06 UTC"


def test_whoever_called_sudo_is_named_and_only_root_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert current_user() == "anna"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert current_user() != "anna"
