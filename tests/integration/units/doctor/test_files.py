"""Access to files on a real disk, without following links."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.users import NOBODY, as_nobody, open_directory
from units.doctor.checks.disk_space import read_free_space
from units.doctor.checks.file_modes import check_secret_file, find_unsafe_files
from units.doctor.checks.system import check_future_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A tree of root's, closed to writers, with a link to an open directory."""
    with open_directory() as elsewhere:
        (elsewhere / "theirs").write_text("x")
        elsewhere.chmod(0o777)
        root = tmp_path / "opt"
        (root / "deep" / "deeper").mkdir(parents=True)
        (root / "deep" / "file").write_text("x")
        (root / "out").symlink_to(elsewhere)
        yield root


def names(root: Path) -> set[str]:
    return {one.path.name for one in find_unsafe_files(root, [])}


def test_root_tree_passes(tree: Path) -> None:
    assert names(tree) == set()


@pytest.mark.parametrize("place", [".", "deep", "deep/deeper", "deep/file"])
@pytest.mark.parametrize("mode", [0o757, 0o775])
def test_writable_file_is_found(tree: Path, place: str, mode: int) -> None:
    (tree / place).chmod(mode)
    assert names(tree) == {(tree / place).name}


@pytest.mark.parametrize("place", ["deep", "deep/file", "out"])
def test_foreign_owner_is_found(tree: Path, place: str) -> None:
    os.chown(tree / place, NOBODY, -1, follow_symlinks=False)
    (found,) = find_unsafe_files(tree, [])
    assert (found.path, found.reason) == (tree / place, "belongs to nobody")


def test_unreadable_directory_is_counted(tree: Path) -> None:
    (tree / "deep").chmod(0o700)
    tree.parent.chmod(0o755)
    for above in tree.parents:
        above.chmod(above.stat().st_mode | 0o111)
    hidden: list[str] = []

    def count() -> int:
        assert not list(find_unsafe_files(tree, hidden))
        return len(hidden)

    assert as_nobody(count) == "1"


def test_open_secret_is_reported(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert not list(check_secret_file(secret))
    for mode in (0o640, 0o604):
        secret.chmod(mode)
        (found,) = check_secret_file(secret)
        assert (found.level, found.hint) == ("error", f"sudo chmod 0600 {secret}")
    secret.chmod(0o600)
    os.chown(secret, NOBODY, -1)
    (found,) = check_secret_file(secret)
    assert "belongs to nobody, not to root" in found.message


def test_linked_secret_is_reported(tmp_path: Path) -> None:
    (tmp_path / "secret").symlink_to("/etc/shadow")
    (found,) = check_secret_file(tmp_path / "secret")
    assert (found.level, "is not a regular file" in found.message) == ("error", True)


def test_future_file_is_reported(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    (tmp_path / "now").touch()
    assert not list(check_future_files(tmp_path, now))
    os.utime(tmp_path / "now", (0, now.timestamp() + 7200))
    (found,) = check_future_files(tmp_path, now)
    assert f"{tmp_path}/now was written 2.0 h in the future" in found.message
    assert not list(check_future_files(tmp_path / "none", now))


def test_free_space_of_missing_directory(tmp_path: Path) -> None:
    room = read_free_space(tmp_path / "not" / "there" / "yet")
    found = os.statvfs(tmp_path)
    assert room is not None
    assert room.path == tmp_path / "not" / "there" / "yet"
    assert abs(room.mib - found.f_bavail * found.f_frsize // 2**20) < 1024
