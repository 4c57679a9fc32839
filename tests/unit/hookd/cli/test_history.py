"""Decisions as lines of text: verdict, reason and facts, within the terminal's width."""

import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from hookd.cli.history import format_decisions
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import Status

AT = datetime(2026, 3, 4, 14, 2, 11, tzinfo=UTC)
HEAD, OLD = "77aa0f1e2d3c" + "0" * 28, "1869b1db108b" + "0" * 28
DEPLOYMENT = "shop-20260304T050607000-0a1b2c"


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def decision(source: str = "deployment", verdict: Verdict = Verdict.ENDED, why: str = "x", **more: Any) -> Decision:
    return Decision.model_validate({"at": AT, "app": "shop", "source": source, "verdict": verdict, "why": why, **more})


def lines(*decisions: Decision, width: int = sys.maxsize) -> list[str]:
    """Return the printed lines without colours."""
    return click.unstyle("\n".join(format_decisions(decisions, width))).splitlines()


def test_decision_has_time_reason_and_facts() -> None:
    frozen = decision(
        verdict=Verdict.FROZEN,
        why="frozen by anna: the sale",
        head=HEAD,
        deployed=OLD,
        deployment=DEPLOYMENT,
        event="push",
    )
    assert lines(frozen) == [
        "Wednesday, 2026-03-04 (UTC)",
        "14:02:11  frozen       frozen by anna: the sale",
        f"                       push · {DEPLOYMENT} · head 77aa0f1e2d3c · deployed 1869b1db108b",
    ]


@pytest.mark.parametrize(
    ("ending", "why", "shown"),
    [
        (Status.SUCCEEDED, "77aa0f1e2d3c serves", "14:02:11  succeeded    77aa0f1e2d3c serves"),
        (Status.ROLLED_BACK, "it answered 500", "14:02:11  rolled back  it answered 500"),
        (Status.ROLLBACK_FAILED, "look: now", "14:02:11  rollback failed  look: now"),
        (None, "something else: that", "14:02:11  ended        something else: that"),
    ],
)
def test_deployments_show_their_ending(ending: Status | None, why: str, shown: str) -> None:
    assert lines(decision(ending=ending, why=why, deployment=DEPLOYMENT))[1] == shown


def test_deliveries_show_repository_and_ref() -> None:
    push = decision(
        "delivery", Verdict.IGNORED, "another branch", event="push", ref="refs/heads/next",
        claimed_commit=HEAD, repository="acme/shop", delivery="6f1c-d8e",
    )  # fmt: skip
    assert lines(push)[2].strip() == "push to next at 77aa0f1e2d3c · acme/shop · delivery 6f1c-d8e"


def test_refusals_show_the_requested_app() -> None:
    refused = decision("delivery", Verdict.REFUSED, "there is no signature")
    assert lines(refused)[2].strip() == "a request · app shop"
    assert lines(refused.model_copy(update={"app": None}))[2].strip() == "a request · no such app"


def test_days_are_headings() -> None:
    earlier = decision().model_copy(update={"at": AT.replace(day=3)})
    days = [line for line in lines(decision(), decision(), earlier) if "day" in line]
    assert days == ["Wednesday, 2026-03-04 (UTC)", "Tuesday, 2026-03-03 (UTC)"]


def test_lines_fit_the_terminal() -> None:
    wide = decision(
        "reconcile",
        Verdict.QUARANTINED,
        "word " * 40 + "w" * 90,
        head=HEAD,
        deployed=OLD,
        running="000001-1869b1db108b",
    )
    printed = lines(wide, width=80)
    assert max(map(len, printed)) <= 80
    assert all(line.startswith(" " * 23) for line in printed[2:])
    assert any("running 000001-1869b1db108b" in line for line in printed)


@pytest.mark.threat(35)
def test_foreign_text_is_escaped() -> None:
    hostile = "\x1b]0;x\x07[red]x[/]\n\u202e"
    shown = "\n".join(
        lines(
            decision(
                "delivery", Verdict.IGNORED, hostile, event=hostile, ref=hostile, repository=hostile, delivery=hostile
            )
        )
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert shown.count(r"\x1b]0;x\x07[red]x[/]\n\u202e") == 5
