"""A typed KEY=VALUE becomes a key of an app's table."""

import tomllib
from typing import Any

import pytest

from units.apps.table.keys import parse_change, set_key, set_keys
from units.system.errors import Refused

FILE = (
    '# The shop.\nbranch = "main"\n\n[health]\nurl = "unix:/run/hookd-apps/shop-{colour}.sock:/healthz"  # The page.\n'
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("health.deadline=60", ("health.deadline", 60)),
        ("branch=main", ("branch", "main")),
        ('build.commands=[["npm", "ci"]]', ("build.commands", [["npm", "ci"]])),
        ("a=b=c", ("a", "b=c")),
        ("dependencies.python=3.12", ("dependencies.python", "3.12")),
        ("dependencies.python=3.10", ("dependencies.python", "3.10")),
        ("build.environment.LEVEL=2", ("build.environment.LEVEL", "2")),
        ("branch=2", ("branch", "2")),
        ("nowhere.key=2", ("nowhere.key", 2)),
        ("health.status=200", ("health.status", 200)),
        ("branch=true", ("branch", True)),
        ("a.UV_EXCLUDE_NEWER=2022-11-11", ("a.UV_EXCLUDE_NEWER", "2022-11-11")),
    ],
)
def test_change_is_toml_or_text(change: str, expected: tuple[str, Any]) -> None:
    assert parse_change(change) == expected


def test_wrong_changes_are_refused() -> None:
    for wrong in ("nokey", "=5", " =5"):
        with pytest.raises(Refused, match="KEY=VALUE"):
            parse_change(wrong)
    with pytest.raises(Refused, match="is a value"):
        set_key({"branch": "main"}, "branch.x", 1)


@pytest.mark.parametrize(
    ("change", "table", "value"),
    [
        ("build.commands=npm ci", "build", {"commands": "npm ci"}),
        ('build.commands=[["npm", "ci"]]', "build", {"commands": [["npm", "ci"]]}),
        ("health.url=/up?deep=1", "health", {"url": "unix:/run/hookd-apps/shop-{colour}.sock:/up?deep=1"}),
        ("health.url=http://127.0.0.1:8000/up", "health", {"url": "http://127.0.0.1:8000/up"}),
        ("branch=next", "branch", "next"),
    ],
)
def test_value_of_a_key(change: str, table: str, value: object) -> None:
    text = set_keys(FILE, (change,))
    assert text.startswith("# The shop.\n")
    assert tomllib.loads(text)[table] == value


def test_page_at_a_port_is_replaced() -> None:
    text = 'health.url = "http://127.0.0.1:8000"\n'
    assert tomllib.loads(set_keys(text, ("health.url=/up",))) == {"health": {"url": "http://127.0.0.1:8000/up"}}


def test_all_bad_changes_are_reported() -> None:
    with pytest.raises(Refused) as refused:
        set_keys(FILE, ("health.deadline", "branch.name=x", "health.status=204"))
    assert len(str(refused.value).splitlines()) >= 2
    assert "health.deadline" in str(refused.value) and "branch.name" in str(refused.value)


def test_typed_keys_beat_values() -> None:
    text = set_keys(FILE, ("branch=typed",), {"branch": "option", "health.url": "/up"})
    assert tomllib.loads(text) == {"branch": "typed", "health": {"url": "unix:/run/hookd-apps/shop-{colour}.sock:/up"}}
