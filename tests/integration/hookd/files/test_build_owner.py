"""Root's change of owners around a build: which files change hands, and which are refused."""

import os
import stat
from pathlib import Path

import pytest

from hookd.files.build_owner import COMPLETE_MARK, give_release, take_releases

OWNER, BUILDER, OTHER = 990_001, 990_002, 990_003

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An app's directory with one release and its new environment, both of the worker's."""
    (tmp_path / "releases" / "one" / "static").mkdir(parents=True)
    (tmp_path / "venvs" / "env").mkdir(parents=True)
    (tmp_path / "releases" / "one" / "wsgi.py").touch()
    (tmp_path / "releases" / "one" / "venv").symlink_to("../../venvs/env")
    (tmp_path / "next").symlink_to("releases/one")
    own(tmp_path, OWNER)
    return tmp_path


def own(top: Path, user: int) -> None:
    for path in (top, *top.rglob("*")):
        os.lchown(path, user, user)


def owners(top: Path) -> set[int]:
    return {path.lstat().st_uid for path in (top, *top.rglob("*"))}


def release(root: Path) -> Path:
    return root / "releases" / "one"


def test_release_changes_hands_twice(root: Path) -> None:
    assert give_release(str(root), OWNER, BUILDER) == []
    assert owners(release(root)) == owners(root / "venvs" / "env") == {BUILDER}
    assert (root / "releases").stat().st_uid == root.stat().st_uid == OWNER
    (release(root) / "made").mkdir(mode=0o500)
    os.chown(release(root) / "made", BUILDER, BUILDER)
    assert take_releases(str(root), BUILDER, OWNER) == []
    assert owners(root) == {OWNER}
    assert stat.S_IMODE((release(root) / "made").stat().st_mode) == 0o700, "its owner can remove it"


def test_complete_environment_stays(root: Path) -> None:
    (root / "venvs" / "env" / COMPLETE_MARK).touch()
    own(root, OWNER)
    assert give_release(str(root), OWNER, BUILDER) == []
    assert owners(root / "venvs" / "env") == {OWNER}


@pytest.mark.threat(95)
def test_linked_files_keep_their_owner(root: Path) -> None:
    """A build owns the directories, and the worker the files, whose other names serve."""
    serving, linked = root / "venvs" / "old" / "module.py", root / "venvs" / "env" / "module.py"
    serving.parent.mkdir()
    serving.touch()
    os.link(serving, linked)
    own(root, OWNER)
    assert give_release(str(root), OWNER, BUILDER) == []
    assert (linked.parent.stat().st_uid, linked.stat().st_uid) == (BUILDER, OWNER)
    (linked.parent / "new.py").touch()
    os.chown(linked.parent / "new.py", BUILDER, BUILDER)
    assert take_releases(str(root), BUILDER, OWNER) == []
    assert owners(root) == {OWNER}
    assert linked.samefile(serving)


def test_unreadable_next_is_refused(root: Path) -> None:
    assert give_release(str(root / "releases"), OWNER, BUILDER) == [], "without `next` there is nothing to build"
    (root / "next").unlink()
    (root / "next").mkdir()
    assert len(give_release(str(root), OWNER, BUILDER)) == 1


@pytest.mark.threat(88)
@pytest.mark.parametrize(
    ("link", "target"),
    [("next", "/etc"), ("next", "releases/.."), ("next", "venvs/env"), ("releases/one/venv", "../../../outside")],
)
def test_other_links_give_nothing(root: Path, link: str, target: str) -> None:
    (root / link).unlink()
    (root / link).symlink_to(target)
    assert "a link leads to" in " ".join(give_release(str(root), OWNER, BUILDER))
    assert BUILDER not in owners(root / "venvs")


@pytest.mark.threat(88)
def test_foreign_and_linked_files_are_refused(root: Path) -> None:
    give_release(str(root), OWNER, BUILDER)
    foreign, outside, inside = release(root) / "foreign", root / "outside", release(root) / "inside"
    for path, user in ((foreign, OTHER), (outside, BUILDER)):
        path.touch()
        os.chown(path, user, user)
    os.link(outside, inside)
    refused = " ".join(take_releases(str(root), BUILDER, OWNER))
    assert "foreign belongs to another user" in refused
    assert "inside has a second name outside of the release" in refused
    assert (foreign.stat().st_uid, outside.stat().st_uid) == (OTHER, BUILDER)


@pytest.mark.threat(88)
def test_names_within_a_release_are_taken(root: Path) -> None:
    give_release(str(root), OWNER, BUILDER)
    os.link(release(root) / "wsgi.py", release(root) / "static" / "second")
    assert take_releases(str(root), BUILDER, OWNER) == []
    assert owners(root) == {OWNER}


@pytest.mark.threat(88)
@pytest.mark.parametrize("mode", [0o4755, 0o2755], ids=["set-user-id", "set-group-id"])
def test_privileged_program_loses_its_power(root: Path, mode: int) -> None:
    give_release(str(root), OWNER, BUILDER)
    (release(root) / "wsgi.py").chmod(mode)
    assert "runs as its owner or group" in " ".join(take_releases(str(root), BUILDER, OWNER))
    assert stat.S_IMODE((release(root) / "wsgi.py").stat().st_mode) == 0o755
