"""Tables with invalid values: all problems are named, and the rest is still parsed."""

from typing import Any

import pytest

from units.apps.table import parse_app, parse_table
from units.system.errors import Refused

TABLE: dict[str, Any] = {
    "repository": "git@git.example.org:acme/blog.git",
    "full_name": "acme/blog",
    "branch": "main",
    "root": "/srv/blog",
    "service": {"units": "hookd", "handover": "blue-green", "workers": 2},
    "health": {"url": "unix:/run/hookd-apps/blog-{colour}.sock:/healthz"},
    "site": {"domain": "blog.example.org"},
    "shared": {"directories": ["uploads"], "data": "/var/lib/blog"},
}


def spoiled(**changes: Any) -> dict[str, Any]:
    """Return the table with other values. KEY__NAME is a value in a nested table, and None removes one."""
    table = {key: dict(value) if isinstance(value, dict) else value for key, value in TABLE.items()}
    for path, value in changes.items():
        key, _, name = path.partition("__")
        place, last = (table[key], name) if name else (table, key)
        if value is None:
            del place[last]
        else:
            place[last] = value
    return table


def test_valid_table_is_an_app() -> None:
    reading = parse_table("blog", TABLE)
    assert (reading.problems, reading.invalid) == ((), frozenset())
    assert reading.app == parse_app("blog", TABLE)


@pytest.mark.parametrize(
    ("changes", "named", "wrong"),
    [
        ({"branch": "-x"}, ["branch"], {"branch"}),
        ({"repository": "ftp://host/x", "full_name": None}, ["repository", "full_name"], {"repository", "full_name"}),
        ({"service__workers": 0, "site__domain": "A B"}, ["service.workers", "site.domain"], {"service", "site"}),
        ({"service__colour": "red"}, ["service.colour"], {"service"}),
        ({"service": "gunicorn"}, ["service"], {"service"}),
        ({"service__handover": "red"}, ["service.handover"], {"service"}),
        ({"health": None, "root": "relative"}, ["health", "root"], {"health", "root"}),
        ({"health__url": "x y", "branch": "-x"}, ["health.url", "branch"], {"health", "branch"}),
        ({"shared__directories": ["uploads", "../etc"]}, ["shared.directories"], {"shared"}),
        ({"shared__directories": ["a", "a/b"]}, ["shared"], {"shared"}),
        ({"branches": "main", "name": "store"}, ["branches", "name: belongs into"], {"branches"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_invalid_values_are_named_once(changes: dict[str, Any], named: list[str], wrong: set[str]) -> None:
    reading = parse_table("blog", spoiled(**changes))
    assert len(reading.problems) == len(named)
    for path in named:
        assert [problem for problem in reading.problems if f"{path}" in problem.removeprefix("blog: ")]
    assert wrong <= reading.invalid <= wrong | {"health"}
    if "site" not in wrong:
        assert reading.app.site.domain == "blog.example.org"


def test_mismatch_is_named_beside_invalid_value() -> None:
    reading = parse_table("blog", spoiled(branch="-x", health__url="http://127.0.0.1/"))
    assert [problem for problem in reading.problems if "branch" in problem]
    assert [problem for problem in reading.problems if "{colour}" in problem]


def test_invalid_name_hides_no_problem() -> None:
    with pytest.raises(Refused) as refused:
        parse_app("../blog", spoiled(branch="-x"))
    assert len(refused.value.reasons) == 2


@pytest.mark.parametrize("table", [{}, {"service": []}, {"health": {"url": 1}, "root": 7}, {"shared": {"files": [1]}}])
def test_parsing_always_ends(table: dict[str, Any]) -> None:
    assert parse_table("blog", table).problems
