"""Modes and groups of a release, set without following links and without touching foreign files."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest

from hookd.files.ownership.policies import GROUP_READABLE, WORLD_READABLE, Acl, Policy, umask_of
from hookd.model.hint import Hint, HintKind
from hookd.model.tables.files import Ownership
from tests.support.users import another_group, as_nobody, open_directory
from worker.errors import CommitRefused, DeployError
from worker.release.ownership import enforce, release_policy

SPLIT = Policy(None, None, WORLD_READABLE, Acl())
SHOW_LOG = Hint(HintKind.SHOW_LOG)
CLOSED = Policy(None, None, GROUP_READABLE, Acl())
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A release with wrong modes throughout."""
    return make_tree(tmp_path / "release")


def make_tree(tree: Path) -> Path:
    (tree / "pkg" / "deep").mkdir(parents=True)
    for name, mode in (("a.py", 0o666), ("pkg/run.sh", 0o700), ("pkg/deep/b.py", 0o600), ("pkg/setuid", 0o6755)):
        (tree / name).write_text(name)
        (tree / name).chmod(mode)
    (tree / "pkg").chmod(0o777)
    return tree


def modes(tree: Path) -> dict[str, str]:
    return {str(path.relative_to(tree)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in [tree, *tree.rglob("*")]}


def test_split_policy(tree: Path) -> None:
    assert enforce(tree, release_policy(Ownership(policy="split"))) > 0
    assert modes(tree) == {
        ".": "0o755",
        "a.py": "0o644",
        "pkg": "0o755",
        "pkg/run.sh": "0o755",
        "pkg/setuid": "0o755",
        "pkg/deep": "0o755",
        "pkg/deep/b.py": "0o644",
    }


def test_group_policy(tree: Path) -> None:
    enforce(tree, CLOSED)
    assert modes(tree) == {
        ".": "0o2750",
        "a.py": "0o640",
        "pkg": "0o2750",
        "pkg/run.sh": "0o750",
        "pkg/setuid": "0o750",
        "pkg/deep": "0o2750",
        "pkg/deep/b.py": "0o640",
    }


def test_setgid_survives_chgrp(tree: Path) -> None:
    group = another_group()
    if group is None:
        pytest.skip("this user is in one group only")
    policy = release_policy(Ownership(group=group.gr_name))
    assert umask_of(Ownership(group=group.gr_name)) == 0o027
    enforce(tree, policy)
    assert {path.stat().st_gid for path in [tree, *tree.rglob("*")]} == {group.gr_gid}
    assert modes(tree)["pkg"] == "0o2750"
    (tree / "pkg" / "later").mkdir()
    assert (tree / "pkg" / "later").stat().st_gid == group.gr_gid


def test_missing_group() -> None:
    with pytest.raises(DeployError, match="the group no-such-group does not exist") as caught:
        release_policy(Ownership(group="no-such-group"))
    assert caught.value.hint == "sudo groupadd --system no-such-group"


@pytest.mark.parametrize("target", ["file", "directory", "nowhere"])
def test_links_are_not_followed(tree: Path, tmp_path: Path, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o600)
    point = {"file": outside / "file", "directory": outside, "nowhere": outside / "nothing"}[target]
    (tree / "link").symlink_to(point)
    before = {path: path.lstat() for path in (outside, outside / "file")}
    enforce(tree, SPLIT)
    assert {path: path.lstat() for path in before} == before


def test_tree_is_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    before = modes(tree)
    with pytest.raises(DeployError, match="link cannot be read"):
        enforce(tmp_path / "link", SPLIT)
    assert modes(tree) == before


@pytest.mark.threat(24)
def test_reject_hard_link(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    os.link(outside, tree / "second-name")
    with pytest.raises(DeployError, match=r"second-name .* should be .* 0644 \(it has a second name") as caught:
        enforce(tree, SPLIT)
    assert caught.value.hint == SHOW_LOG, "root refuses it, too"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600


def test_hard_link_with_right_mode(tree: Path) -> None:
    enforce(tree, SPLIT)
    os.link(tree / "a.py", tree / "b.py")
    assert enforce(tree, SPLIT) == 0


@pytest.mark.threat(24)
def test_reject_fifo(tree: Path) -> None:
    os.mkfifo(tree / "pkg" / "pipe")
    with pytest.raises(CommitRefused, match="pkg/pipe is neither a file, a directory nor a link: remove it") as caught:
        enforce(tree, SPLIT)
    assert caught.value.hint == SHOW_LOG


def test_second_run_changes_nothing(tree: Path) -> None:
    assert enforce(tree, CLOSED) == 7
    assert enforce(tree, CLOSED) == 0


@pytest.mark.threat(60)
@needs_root
@pytest.mark.parametrize("policy", ["group", "acl"])
def test_twenty_thousand_files(policy: Literal["group", "acl"]) -> None:
    wanted = release_policy(Ownership(policy=policy, group="www-data", user="www-data"))
    # In memory, where there is such a place: a disk would need most of its time to make them.
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as above:
        directory = Path(above)
        tree = directory / "release"
        make_born_right(tree, wanted)
        latest = tick(directory)
        assert enforce(tree, wanted) == 0
        changed = [entry.stat(follow_symlinks=False).st_ctime_ns for entry in walked(tree)]
    assert len(changed) == 20_100
    assert max(changed) <= latest


def make_born_right(tree: Path, policy: Policy) -> None:
    """Make a hundred directories of two hundred files, which inherit the right group and mode."""
    before = os.umask(0o027)
    try:
        tree.mkdir()
        enforce(tree, policy, recursive=False)
        for part in range(100):
            (tree / str(part)).mkdir()
            for number in range(200):
                os.close(os.open(f"{tree}/{part}/{number}", os.O_CREAT | os.O_WRONLY, 0o666))
    finally:
        os.umask(before)


def tick(directory: Path) -> int:
    """Wait until the clock of the file system moves, and return its time."""
    (directory / "clock").touch()
    now = before = (directory / "clock").stat().st_ctime_ns
    while now == before:
        (directory / "clock").touch()
        now = (directory / "clock").stat().st_ctime_ns
    return before


def walked(directory: Path) -> Iterator["os.DirEntry[str]"]:
    """Return all paths below a directory."""
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from walked(Path(entry.path))


def test_unusual_names(tree: Path) -> None:
    name = os.fsdecode(b"new\nline '\" \xff -rf")
    (tree / name).write_text("x")
    (tree / name).chmod(0o600)
    enforce(tree, SPLIT)
    assert stat.S_IMODE((tree / name).stat().st_mode) == 0o644


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of another user."""
    with open_directory() as directory:
        yield directory


@needs_root
def test_change_to_own_group(theirs: Path) -> None:
    group = another_group()
    assert group is not None
    tree = theirs / "release"

    def work() -> object:
        make_tree(tree)
        policy = release_policy(Ownership(group=group.gr_name))
        return enforce(tree, policy), enforce(tree, policy)

    assert as_nobody(work, groups=(group.gr_gid,)) == "(7, 0)"
    assert {path.stat().st_gid for path in [tree, *tree.rglob("*")]} == {group.gr_gid}
    assert modes(tree)["pkg"] == "0o2750"


@needs_root
def test_reject_other_group() -> None:
    """Nothing is changed before the error."""
    group = another_group()
    assert group is not None
    refusal = as_nobody(lambda: release_policy(Ownership(group=group.gr_name)))
    assert f"the worker is not a member of the group {group.gr_name}" in refusal


@needs_root
def test_reject_other_owner(theirs: Path) -> None:
    tree = make_tree(theirs / "release")

    def refusal() -> str:
        with pytest.raises(DeployError) as caught:
            enforce(tree, SPLIT)
        return f"{caught.value}: {caught.value.hint}"

    text = as_nobody(refusal)
    assert "belongs to another user" in text and str(Hint(HintKind.FIX_PERMISSIONS)) in text
    assert modes(tree)["pkg"] == "0o777"


@needs_root
def test_link_to_unreadable_directory(theirs: Path) -> None:
    (theirs / "uploads").mkdir(mode=0o700)
    tree = theirs / "release"

    def work() -> object:
        make_tree(tree)
        (tree / "uploads").symlink_to(theirs / "uploads")
        return enforce(tree, SPLIT)

    assert as_nobody(work) == "7"


@needs_root
def test_unreadable_directory(theirs: Path) -> None:
    tree = theirs / "release"

    def work() -> object:
        make_tree(tree)
        (tree / "pkg").chmod(0)
        return enforce(tree, SPLIT)

    assert f"{tree}/pkg cannot be read: Permission denied" in as_nobody(work)
