"""The directory of backups: only complete ones are kept, the newest of them, and under no name of others."""

import os
from pathlib import Path

import pytest

from hookd.files import backups
from hookd.files.backups import NEW, BackupRefused, DiskFull, discard, keep_backup, list_backups, main
from hookd.model.units.backup import CLEAN

NAMES = [f"{number:06d}-{'0123456789ab'}" for number in range(1, 6)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "backups"
    directory.mkdir()
    return directory


def keep(place: Path, release: str, number: int = 3, content: bytes = b"data") -> None:
    (place / NEW).write_bytes(content)
    keep_backup(place, release, "command", number)


def releases(place: Path) -> list[str]:
    return [backup.release for backup in list_backups(place)]


def test_newest_stay(place: Path) -> None:
    """Their age decides, because numbers of releases begin again after an app was removed."""
    for minute, release in enumerate(reversed(NAMES)):
        keep(place, release)
        os.utime(place / f"{release}.backup", (minute * 60, minute * 60))
    assert releases(place) == [NAMES[0], NAMES[1], NAMES[2]]
    assert (place / f"{NAMES[0]}.backup").stat().st_mode & 0o777 == 0o600


def test_new_backup_stays_in_any_case(place: Path) -> None:
    """Also if the clock was ahead before."""
    for release in NAMES[:2]:
        keep(place, release)
        os.utime(place / f"{release}.backup", (2**33, 2**33))
    keep(place, NAMES[2], number=1)
    assert releases(place) == [NAMES[2]]


def test_incomplete_backup_is_refused(place: Path) -> None:
    with pytest.raises(BackupRefused, match="the backup is empty"):
        keep(place, NAMES[0], content=b"")
    (place / NEW).unlink()
    (place / "other").write_bytes(b"of another user")
    (place / NEW).symlink_to(place / "other")
    with pytest.raises(OSError, match="symbolic links"):
        keep_backup(place, NAMES[0], "command", 3)
    discard(place)
    assert sorted(path.name for path in place.iterdir()) == ["other"]
    assert releases(place) == []


def test_other_files_are_no_backups(place: Path) -> None:
    (place / f"{NAMES[0]}.txt").touch()
    (place / "notes.backup").touch()
    (place / f"{NAMES[1]}.backup").symlink_to("/etc/passwd")
    (place / f"{NAMES[2]}.sqlite.tar").write_bytes(b"x")
    assert [(backup.release, backup.kind, backup.size) for backup in list_backups(place)] == [(NAMES[2], "sqlite", 1)]
    assert list_backups(place / "missing") == []


@pytest.mark.parametrize("target", [f"releases/{NAMES[0]}", f"../{NAMES[0]}", "releases/..", f"/etc/{NAMES[0]}/x", ""])
def test_next_must_be_a_release(target: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker's user owns that link, and leads root nowhere else."""
    if target:
        (tmp_path / "next").symlink_to(target)
    (place / NEW).write_bytes(b"data")
    status = main("keep", str(place), str(tmp_path), "sqlite", "3")
    is_release = target == f"releases/{NAMES[0]}"
    assert (status, releases(place)) == ((0, [NAMES[0]]) if is_release else (1, []))
    assert capsys.readouterr().out.startswith("" if is_release else "refused: ")


def test_clean_backup_is_kept(place: Path, tmp_path: Path) -> None:
    """As root on a server keeps it."""
    (tmp_path / CLEAN).symlink_to(NAMES[0])
    for release in NAMES[:3]:
        (tmp_path / "next").unlink(missing_ok=True)
        (tmp_path / "next").symlink_to(f"releases/{release}")
        (place / NEW).write_bytes(b"data")
        assert main("keep", str(place), str(tmp_path), "command", "1") == 0
    assert set(releases(place)) == {NAMES[0], NAMES[2]}


def test_full_disk_keeps_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that does not notice it ends well, and left a part of its output."""
    keep(place, NAMES[0])
    monkeypatch.setattr(backups, "is_full", lambda _: True)
    with pytest.raises(DiskFull):
        keep(place, NAMES[1])
    assert main("discard", str(place)) == 1
    assert capsys.readouterr().out == f"full: {place}\n"
    assert (releases(place), (place / NEW).exists()) == ([NAMES[0]], False)
    assert main("discard", str(place)) == 0
