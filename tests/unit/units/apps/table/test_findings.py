"""Findings in a repository and the keys that a person sets become one table."""

from typing import Any

import pytest

from hookd.model.plan import Finding, Plan
from units.apps.table.findings import page_of, with_findings

ENTRY = Finding("service.entry", "shop:app", "shop.py, line 3", proposed=False)
PAGE = Finding("health.page", "/up", "shop.py, line 9", proposed=False)
ANY = Finding("health.status", "<500", "no health page", proposed=False)


@pytest.mark.parametrize(
    ("table", "page", "expected"),
    [
        ({}, None, {"service": {"entry": "shop:app"}, "health": {"status": "<500"}}),
        ({}, "/own", {"service": {"entry": "shop:app"}}),
        ({"service": {"entry": "x:y"}}, "/own", {"service": {"entry": "x:y"}}),
        ({"service": 7}, "/own", {"service": 7}),
        ({"service": {"workers": 1}}, "/own", {"service": {"workers": 1, "entry": "shop:app"}}),
    ],
)
def test_set_keys_beat_findings(table: dict[str, Any], page: str | None, expected: dict[str, Any]) -> None:
    before = repr(table)
    assert with_findings(table, (ENTRY, PAGE, ANY), page=page) == expected
    assert repr(table) == before


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"stop_seconds": 9}, {"stop_seconds": 9, "command": ["rq", "worker"]}),
        ({"command": ["x"]}, {"command": ["x"]}),
        ({}, {}),
    ],
)
def test_found_tables_are_completed(chosen: dict[str, Any], expected: dict[str, Any]) -> None:
    found = Finding("processes.rq", {"command": ["rq", "worker"]}, "Procfile, line 2", proposed=True)
    assert with_findings({"processes": {"rq": chosen}}, (found,)) == {"processes": {"rq": expected}}


def test_page_comes_from_the_plan() -> None:
    assert page_of(Plan("wsgi", (ENTRY, PAGE), (), (), ())) == "/up"
    assert page_of(Plan("wsgi", (ENTRY,), (), (), ())) == "/healthz"
