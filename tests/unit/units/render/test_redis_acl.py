"""The file of Redis users: hashes instead of passwords, and no syntax that Redis 7.0 lacks."""

import hashlib
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest

from hookd.credentials import ROLES, Role
from hookd.model.ids import new_deployment_id
from units.render.redis_acl import acl

PASSWORDS: dict[Role, str] = {role: f"the password of {role}" for role in ROLES}
TEXT = acl(PASSWORDS)


def line_of(role: str) -> str:
    [found] = [line for line in TEXT.splitlines() if line.startswith(f"user hookd-{role} ")]
    return found


def test_every_line_is_a_user() -> None:
    assert [line.split()[:2] for line in TEXT.splitlines()] == [
        ["user", "default"],
        *(["user", f"hookd-{role}"] for role in ROLES),
    ]
    assert TEXT.endswith("\n")


def test_default_user_has_no_login() -> None:
    assert TEXT.splitlines()[0].startswith("user default off resetpass ")


@pytest.mark.parametrize("role", ROLES)
def test_acl_holds_password_hashes(role: Role) -> None:
    assert f" on #{hashlib.sha256(PASSWORDS[role].encode()).hexdigest()} resetkeys resetchannels -@all " in line_of(
        role
    )
    assert not any(password in TEXT for password in PASSWORDS.values())
    assert "nopass" not in TEXT and " >" not in TEXT


@pytest.mark.parametrize("role", ROLES)
def test_acl_is_valid_for_redis_7(role: Role) -> None:
    assert "setinfo" not in line_of(role)


@pytest.mark.parametrize("role", ROLES)
def test_nobody_is_kept_from_transactions(role: Role) -> None:
    assert {"+multi", "+exec", "+discard"} <= set(line_of(role).split())


@pytest.mark.parametrize("passwords", [{}, {**PASSWORDS, "status": ""}, {"worker": "x"}])
def test_missing_password_is_refused(passwords: dict[Role, str]) -> None:
    with pytest.raises(ValueError, match="no password for"):
        acl(passwords)


def test_deployment_ids_match_the_pattern() -> None:
    [pattern] = set(re.findall(r"rq:job:(\S+?)\)", line_of("receiver")))
    for app in ("a", "shop", "a-long-name-with-dashes-and-01234"[:32]):
        assert fnmatchcase(new_deployment_id(app, datetime.now(UTC)), pattern)
    for other in ("shop", "replay-unknown", "x:dependents", ""):
        assert not fnmatchcase(other, pattern)
