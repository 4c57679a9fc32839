"""A person's own app file gets a user, or is refused. Nothing is dropped."""

from typing import Any

import pytest

from units.apps.table.own_file import add_user, require_shared_files
from units.system.errors import Refused


def chosen() -> str:
    return "shop"


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    ("table", "option", "user"),
    [
        ({"service": {"units": "hookd"}}, None, "shop"),
        ({"service": {"units": "hookd"}}, "team", "team"),
        ({"service": {"units": "hookd"}, "ownership": {"user": "team"}}, None, "team"),
        ({"service": {"units": "hookd"}, "ownership": {"user": "team"}}, "team", "team"),
        ({"service": {"units": "hookd"}}, "www-data", None),
        # The unit has a user of its own.
        ({}, None, None),
        ({"ownership": "wrong"}, None, None),
    ],
)
def test_user_is_added(table: dict[str, Any], option: str | None, user: str | None) -> None:
    made = add_user(table, option, chosen)
    expected = table if user is None else {**table, "ownership": {"user": user}}
    assert made == expected


def test_two_users_are_refused() -> None:
    with pytest.raises(Refused, match=r"--user is team, but ownership\.user in the file is shop"):
        add_user({"ownership": {"user": "shop"}}, "team", chosen)


def test_unlisted_shared_file_is_refused() -> None:
    require_shared_files({"shared": {"files": [".env"]}}, [".env"])
    with pytest.raises(Refused, match=r"--file \.env: shared\.files in the file does not name it"):
        require_shared_files({}, [".env"])
