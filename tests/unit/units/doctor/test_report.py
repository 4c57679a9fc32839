"""Order, format and exit status of the report."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from units.cli.doctor import show_report
from units.doctor.finding import Finding, Level, error, ok, unknown, warning
from units.doctor.report import Report

AT = datetime(2026, 8, 1, 12, tzinfo=UTC)
WELL = replace(ok("it answers"), check="redis")
WORSE = replace(warning("it is nearly full", "df -h"), check="space", app="shop")
BAD = replace(error("it is gone", "sudo hookd setup"), check="redis")
HIDDEN = replace(unknown("it is closed to you", "sudo hookd doctor"), check="files")


def report(*findings: Finding) -> Report:
    return Report(AT, findings)


def printed(found: Report, *, quiet: bool = False) -> list[str]:
    with redirect_stdout(io.StringIO()) as out:
        show_report(found, quiet=quiet)
    return out.getvalue().splitlines()


@pytest.mark.promise(38)
@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ((), 0),
        ((WELL,), 0),
        ((WELL, WORSE), 1),
        ((WELL, WORSE, BAD), 2),
        ((WELL, HIDDEN), 3),
        ((HIDDEN, WORSE), 1),
        ((BAD, HIDDEN), 2),
    ],
)
def test_exit_status_is_the_worst(findings: tuple[Finding, ...], status: int) -> None:
    assert report(*findings).exit_status == status


def test_problems_come_first() -> None:
    lines = printed(report(WELL, HIDDEN, WORSE, BAD))
    assert ": 1 error, 1 warning, 1 unknown, 1 ok" in lines[0]
    assert lines[1:] == [
        "error    redis: it is gone",
        "         next: sudo hookd setup",
        "warning  shop space: it is nearly full",
        "         next: df -h",
        "unknown  files: it is closed to you",
        "         next: sudo hookd doctor",
        "ok       redis: it answers",
    ]


def test_quiet_omits_ok() -> None:
    assert not [line for line in printed(report(WELL, BAD), quiet=True) if line.startswith("ok")]
    assert printed(report(WELL), quiet=True) == [f"hookd: {report(WELL).summary()}"]
    assert ": 1 ok" in report(WELL).summary()
    assert ": 2 errors, 2 unknown, 1 ok" in report(BAD, WELL, HIDDEN, BAD, HIDDEN).summary()


def test_long_line_is_not_wrapped() -> None:
    long = replace(error("word " * 60, "sudo hookd setup"), check="redis")
    assert len(printed(report(long))) == 3


def test_json_report() -> None:
    document = json.loads(report(WELL, WORSE).as_json())
    assert (document["level"], document["exit_status"], document["at"]) == ("warning", 1, "2026-08-01T12:00:00+00:00")
    assert document["findings"][0] == {
        "level": "warning",
        "message": "it is nearly full",
        "hint": "df -h",
        "check": "space",
        "app": "shop",
    }
    assert [one["level"] for one in document["findings"]] == ["warning", "ok"]


def test_untrusted_text_is_one_line() -> None:
    hostile = "refused\r\nok  all is well\x1b[2J\u202e\u2028" + "x" * 5000
    for text in (ok(hostile).message, error(hostile, hostile).hint or "", warning(hostile, "x").message):
        assert text.isprintable()
        assert text.startswith(r"refused ok all is well\x1b[2J\u202e xxx")
        assert len(text) <= 600


def test_markup_is_not_rendered() -> None:
    marked = replace(error("[bold]x[/] [link=http://evil]y[/link]", "z"), check="git")
    assert "error    git: [bold]x[/] [link=http://evil]y[/link]" in printed(report(marked))


def test_all_levels_are_ranked() -> None:
    assert {found.level for found in (WELL, WORSE, BAD, HIDDEN)} == set(Level)
