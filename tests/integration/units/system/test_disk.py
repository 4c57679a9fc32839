"""Root's file access in directories of other users."""

import os
import stat
from pathlib import Path

import pytest

from hookd.files.safe_open import MAX_FILE_BYTES
from tests.support.users import needs_root
from units.system import disk

ROOT = disk.Owner(0, 0, 0o640)
STRANGER = 65_534

pytestmark = needs_root


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """Return a directory of another user, such as /srv/shop."""
    place = tmp_path / "strangers"
    place.mkdir()
    os.chown(place, STRANGER, STRANGER)
    return place


def test_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    disk.write(path, b"new", disk.Owner(0, STRANGER, 0o640))
    found = path.stat()
    assert (path.read_text(), found.st_gid, stat.S_IMODE(found.st_mode)) == ("new", STRANGER, 0o640)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_failed_check_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    seen = []

    def refuse(candidate: str) -> None:
        seen.append(Path(candidate).read_text())
        raise ValueError("no good")

    with pytest.raises(ValueError, match="no good"):
        disk.write(path, b"new", ROOT, refuse)
    assert (seen, path.read_text(), len(list(tmp_path.iterdir()))) == (["new"], "old", 1)


@pytest.mark.threat(66)
def test_foreign_link_is_not_followed(strangers: Path, tmp_path: Path) -> None:
    target = tmp_path / "etc"
    target.mkdir()
    os.symlink(target, strangers / "shared")
    with pytest.raises(disk.UnsafePath, match="shared"):
        disk.write(strangers / "shared" / "passwd", b"mine", ROOT)
    assert not list(target.iterdir())


def test_link_at_the_path_is_replaced(strangers: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    os.symlink(victim, strangers / ".env")
    disk.write(strangers / ".env", b"mine", ROOT)
    assert victim.read_text() == "safe"
    assert (strangers / ".env").read_bytes() == b"mine"


def test_linked_directory_keeps_its_owner(strangers: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    os.symlink(victim, strangers / "uploads")
    with pytest.raises(OSError):
        disk.make_directory(strangers / "uploads", disk.Owner(STRANGER, STRANGER, 0o2770))
    assert victim.stat().st_uid == 0


def test_roots_link_is_followed(tmp_path: Path) -> None:
    """An administrator may have linked /srv to a larger disk."""
    (tmp_path / "large").mkdir()
    os.symlink(tmp_path / "large", tmp_path / "srv")
    disk.write(tmp_path / "srv" / "file", b"text", ROOT)
    assert (tmp_path / "large" / "file").read_bytes() == b"text"


def test_roots_relative_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "large" / "below").mkdir(parents=True)
    os.symlink("large", tmp_path / "srv")
    disk.write(tmp_path / "srv" / "below" / "file", b"text", ROOT)
    assert (tmp_path / "large" / "below" / "file").read_bytes() == b"text"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    os.symlink(tmp_path / "b", tmp_path / "a")
    os.symlink(tmp_path / "a", tmp_path / "b")
    with pytest.raises(disk.UnsafePath):
        disk.write(tmp_path / "a" / "file", b"text", ROOT)


@pytest.mark.threat(66)
def test_foreign_link_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    (tmp_path / "victim").mkdir()
    os.symlink(tmp_path / "victim", place / "link")
    os.lchown(place / "link", STRANGER, STRANGER)
    with pytest.raises(disk.UnsafePath):
        disk.write(place / "link" / "file", b"text", ROOT)


@pytest.mark.threat(66)
def test_pipe_is_no_file(strangers: Path) -> None:
    os.mkfifo(strangers / "pipe")
    assert disk.read(strangers / "pipe") is None


def test_reading_a_link_reads_nothing(strangers: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", strangers / "key.pub")
    assert disk.read(strangers / "key.pub") is None


@pytest.mark.threat(66)
def test_large_file_is_not_read(strangers: Path) -> None:
    path = strangers / "key.pub"
    path.touch()
    os.truncate(path, 8 * 1024**3)
    with pytest.raises(disk.UnsafePath, match=r"key\.pub: it holds more than 16777216 bytes"):
        disk.read(path)
    os.truncate(path, MAX_FILE_BYTES)
    assert len(disk.read(path) or b"") == MAX_FILE_BYTES
