"""Names from outside: a valid one is safe in a path, a Redis key and an argument vector."""

import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hookd.model import ids

AT = datetime(2026, 3, 4, 5, 6, 7, 89_999, tzinfo=UTC)
ID = "shop-20260304T050607089-0a1b2c"
SHA1 = "0123456789abcdef0123456789abcdef01234567"
SHA256 = SHA1 + "0" * 24

# Every character that a path, a shell, a Redis key pattern or a line of a log may take for more than itself.
DANGEROUS = [chr(code) for code in range(256) if chr(code) not in string.ascii_letters + string.digits + "-._"]


@pytest.mark.parametrize("name", ["a", "shop", "shop-2", "a" * 32, "a-"])
def test_an_apps_name_is_accepted(name: str) -> None:
    assert ids.is_app(name)


@pytest.mark.parametrize(
    "name",
    ["", "Shop", "2shop", "-shop", "shop_2", "shop.old", "a" * 33, "shop\n", "sh op", "../shop", "shöp", "shop/x"],
)
def test_invalid_app_names(name: str) -> None:
    assert not ids.is_app(name)


@pytest.mark.parametrize("char", DANGEROUS)
def test_names_hold_no_dangerous_character(char: str) -> None:
    for name in (f"shop{char}", f"s{char}p", char):
        assert not ids.is_app(name)
        assert not ids.is_delivery(name)
    assert not ids.is_deployment(ID + char)
    assert not ids.is_deployment(char + ID)


@given(st.text())
def test_valid_delivery_is_one_word(text: str) -> None:
    plain = string.ascii_letters + string.digits + "._-"
    assert ids.is_delivery(text) == (0 < len(text) <= 128 and all(char in plain for char in text))


def test_long_delivery_is_refused() -> None:
    assert ids.is_delivery("d" * 128)
    assert not ids.is_delivery("d" * 129)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        ID.upper(),
        ID.replace("T", "t"),
        ID[:-1],
        ID + "0",
        ID + "\n",
        ID.replace("shop", "../etc"),
        ID.replace("0a1b2c", "0a1b2g"),
        ID.replace("20260304", "2026030"),
        ID.replace("20260304", "\u0662\u0660\u0662\u0666\u0660\u0663\u0660\u0664"),
    ],
)
def test_invalid_deployment_ids(text: str) -> None:
    assert not ids.is_deployment(text)
    with pytest.raises(ValueError, match="not a deployment id"):
        ids.app_of(text)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (ids.AppName, "shop", "shop\n"),
        (ids.CommitId, SHA1, SHA1 + "\n"),
        (ids.CommitId, SHA256, SHA1[:-1]),
        (ids.CommitId, SHA1, SHA1.upper()),
        (ids.CommitId, SHA1, "-" + SHA1[1:]),
        (ids.DeploymentId, ID, ID + "\n"),
        (ids.ReleaseName, "000007-0123456789ab", "000007-0123456789ab\n"),
        (ids.ReleaseName, "000007-0123456789ab", "../007-0123456789ab"),
    ],
)
def test_fields_and_functions_agree(kind: Any, good: str, bad: str) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python(good) == good
    with pytest.raises(ValidationError):
        adapter.validate_python(bad)


def test_new_id_names_app_and_time() -> None:
    found = ids.new_deployment_id("shop-2", AT)
    assert found.startswith("shop-2-20260304T050607089-")
    assert ids.is_deployment(found)
    assert ids.app_of(found) == "shop-2"


@pytest.mark.threat(15)
def test_ids_of_one_millisecond_differ() -> None:
    assert len({ids.new_deployment_id("shop", AT) for _ in range(100)}) == 100


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(1, 10**9))
def test_ids_sort_by_time(at: datetime, milliseconds: int) -> None:
    later = at + timedelta(milliseconds=milliseconds)
    assert ids.new_deployment_id("shop", at) < ids.new_deployment_id("shop", later)


@given(st.from_regex(ids.APP_PATTERN, fullmatch=True), st.datetimes(min_value=datetime(1000, 1, 1)))
def test_new_id_gives_its_app(app: str, at: datetime) -> None:
    assert ids.app_of(ids.new_deployment_id(app, at)) == app


@pytest.mark.parametrize("name", ["main", "release/2026.1", "feature/a-b_c", "v1.0", "ümlaut", "a" * 200, "x@y", "a.b"])
def test_valid_branches(name: str) -> None:
    assert ids.is_branch(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "-b",
        "--upload-pack=touch /tmp/x",
        "@",
        "a..b",
        "a b",
        "a\tb",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[1]",
        "a\\b",
        "a@{1}",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "a.lock",
        "a.lock/b",
        "a" * 201,
    ],
)
def test_invalid_branches(name: str) -> None:
    assert not ids.is_branch(name)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("0123456", True),
        ("012345", False),
        (SHA256, True),
        (SHA256 + "0", False),
        ("012345g", False),
        ("-123456", False),
    ],
)
def test_abbreviated_commits(text: str, accepted: bool) -> None:
    assert ids.is_abbreviation(text) is accepted


def test_release_names_sort_by_number() -> None:
    assert ids.release_name(7, SHA1) == "000007-0123456789ab"
    assert ids.release_name(99, SHA1) < ids.release_name(100, SHA1)


def test_id_gives_its_time() -> None:
    assert ids.requested_at(ids.new_deployment_id("shop", AT)) == AT.replace(microsecond=89_000)


@pytest.mark.parametrize(
    "text", ["", "shop", ID[:-1], "shop-20261304T050607089-0a1b2c", "shop-20260304T256107089-0a1b2c"]
)
def test_invalid_id_gives_no_time(text: str) -> None:
    assert ids.requested_at(text) is None
