"""Differences between a real disk and changes are reported with their severity."""

import os
from pathlib import Path

import pytest

from tests.support.users import NOBODY, needs_root
from units.changes.accounts import Group, User
from units.changes.change import Changes, Directory, File, Link, Run
from units.doctor.checks.files import compare

pytestmark = needs_root


@pytest.fixture
def changes(tmp_path: Path) -> Changes:
    """Changes that are made."""
    (tmp_path / "directory").mkdir(mode=0o750)
    (tmp_path / "directory").chmod(0o750)
    for name in ("file", "once"):
        (tmp_path / name).write_text("text")
        (tmp_path / name).chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    return (
        Group("root"),
        User("nobody", "nogroup", Path("/nonexistent")),
        Directory(tmp_path / "directory", "root", "root", 0o750),
        File(tmp_path / "file", "text", mode=0o640),
        File(tmp_path / "once", "other", mode=0o640, existing="keep text"),
        Link(tmp_path / "link", Path("file")),
        Run(("false",), "commands are not compared"),
    )


def test_complete_changes_pass(changes: Changes) -> None:
    assert list(compare(changes)) == []


def test_missing_accounts_are_reported() -> None:
    accounts = (Group("hookd-none"), User("hookd-none", "root", Path("/nonexistent"), ("hookd-queue",)))
    (found,) = compare(accounts)
    both = "the group hookd-none is missing; the user hookd-none is missing or not in hookd-queue"
    assert (found.level, found.message) == ("error", f"2 differences: {both}")
    assert found.hint == "sudo hookd setup"


def test_user_without_group_is_reported() -> None:
    (found,) = compare((User("nobody", "nogroup", Path("/nonexistent"), ("hookd-none",)),))
    assert (found.level, found.hint) == ("error", "sudo hookd setup")


@pytest.mark.parametrize("name", ["directory", "file", "once"])
def test_wrong_modes_and_owners_are_errors(changes: Changes, tmp_path: Path, name: str) -> None:
    (tmp_path / name).chmod(0o644)
    (found,) = compare(changes)
    rights = "0750" if name == "directory" else "0640"
    assert (found.level, found.message) == ("error", f"{tmp_path / name} is not root:root {rights}")
    (tmp_path / name).chmod(0o750 if name == "directory" else 0o640)
    os.chown(tmp_path / name, NOBODY, -1)
    assert [one.level for one in compare(changes)] == ["error"]


def test_changed_text_is_a_warning(changes: Changes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("changed")
    (tmp_path / "once").write_text("a person's own text")
    (found,) = compare(changes)
    assert (found.level, found.message) == ("warning", f"{tmp_path / 'file'} has another text")
    (tmp_path / "file").unlink()
    assert [one.message for one in compare(changes)] == [f"{tmp_path / 'file'} is missing"]


def test_a_wrong_link_is_an_error(changes: Changes, tmp_path: Path) -> None:
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("once")
    assert [one.level for one in compare(changes)] == ["error"]


def test_many_differences_are_counted() -> None:
    (found,) = compare(tuple(File(Path(f"/none/{number}"), "") for number in range(20)))
    assert found.message.startswith("20 differences: /none/0 is missing; ")
    assert (found.message.count("/none/"), found.message.endswith("; and 12 more")) == (8, True)
