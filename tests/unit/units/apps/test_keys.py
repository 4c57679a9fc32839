"""A typed KEY=VALUE becomes a key of an app's table."""

from typing import Any

import pytest

from units.apps.keys import parse_change, set_key
from units.system.errors import Refused


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("health.deadline=60", ("health.deadline", 60)),
        ("branch=main", ("branch", "main")),
        ('build.commands=[["npm", "ci"]]', ("build.commands", [["npm", "ci"]])),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_change_is_toml_or_text(change: str, expected: tuple[str, Any]) -> None:
    assert parse_change(change) == expected


def test_wrong_changes_are_refused() -> None:
    with pytest.raises(Refused, match="KEY=VALUE"):
        parse_change("nokey")
    with pytest.raises(Refused, match="is a value"):
        set_key({"branch": "main"}, "branch.x", 1)
