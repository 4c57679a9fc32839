"""The printed form of a plan is checked before it is trusted."""

import json
from dataclasses import asdict

import pytest

from hookd.model.plan import Finding, Plan, Variable, is_valid


def test_plan_survives_its_json() -> None:
    values = {
        "service.entry": "a:b",
        "service.workers": 3,
        "build.commands": [["a", "b"]],
        "processes.x": {"command": ["c"]},
    }
    findings = tuple(Finding(key, value, "a.py, line 1", proposed=True) for key, value in values.items())
    plan = Plan("flask", findings, (Variable("A", "a.py", example="b"),), ("A remark.",))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "a\x1b[2J"},
        {"remarks": ["\x1b]0;title\x07"]},
        {"remarks": "text"},
        {"more": 1},
        {"findings": [asdict(Finding("service.preflight", "x", "y"))]},
        {"findings": [asdict(Finding("service.entry\n", "x", "y"))]},
        {"findings": [asdict(Finding("service.listen", "0.0.0.0:5000", "y"))]},
        {"findings": [asdict(Finding("service.listen", "unix:/run/hookd/hookd.sock", "y"))]},
        {"findings": [asdict(Finding("build.commands", [["a\nb"]], "y"))]},
        {"findings": [asdict(Finding("service.entry", {"a": {"b": "c"}}, "y"))]},
        {"findings": [asdict(Finding("dependencies.python", "/srv/shop/evil", "y"))]},
        {"findings": [asdict(Finding("dependencies.python", "3.12\n/bin/sh", "y"))]},
        {"variables": [asdict(Variable("HOOKD_HEALTH_STATUS", ""))]},
        {"variables": [asdict(Variable("LD_PRELOAD", ""))]},
        {"variables": [{"name": "A B", "source": "", "needed": True, "example": None, "secret": False}]},
    ],
)
def test_printed_plan_is_not_trusted(change: dict[str, object]) -> None:
    text = json.dumps({**asdict(Plan("flask")), **change})
    with pytest.raises(ValueError, match="validation error"):
        Plan.from_json(text)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("A remark.", True),
        ("a\x1b[2J", False),
        (Finding("service.entry", "a:b", "c"), True),
        (Finding("service.entry", "a\x07", "c"), False),
        (Finding("build.environment", {"A": "\x1b"}, "c"), False),
        (Finding("service.entry", "a" * 5000, "c"), False),
        (Variable("A_URL\x1b[2J", "a.py"), False),
    ],
)
def test_unprintable_values_are_invalid(value: Finding | Variable | str, valid: bool) -> None:
    assert is_valid(value) == valid
