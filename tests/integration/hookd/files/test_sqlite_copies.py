"""Copies of SQLite files: of one moment while the app writes, put back into files that others have open."""

import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from tests.support.databases import count_rows, make_database, written

PROGRAM = (sys.executable, "-I", "-m", "hookd.files.sqlite_copies")


def save(directory: Path, to: Path) -> "subprocess.CompletedProcess[str]":
    with to.open("wb") as out:
        return run("save", directory, stdout=out)


def load(directory: Path, archive: Path) -> "subprocess.CompletedProcess[str]":
    with archive.open("rb") as source:
        return run("load", directory, stdin=source)


def run(verb: str, directory: Path, **files: IO[bytes]) -> "subprocess.CompletedProcess[str]":
    argv = [*PROGRAM, verb, str(directory)]
    return subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False, **files)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_copy_is_of_one_moment(mode: str, tmp_path: Path) -> None:
    path = make_database(tmp_path / "data" / "app.db", mode, 5000)
    with written(path):
        done = save(tmp_path / "data", tmp_path / "copies")
    assert done.returncode == 0, done.stderr
    path.unlink()
    assert load(tmp_path / "data", tmp_path / "copies").returncode == 0
    one, two = count_rows(path)
    assert one == two > 5000


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_restored_beside_a_reader(mode: str, tmp_path: Path) -> None:
    """Owner, mode and journal of the file stay, and an open connection reads the old rows."""
    path = make_database(tmp_path / "data" / "app.db", mode)
    path.chmod(0o640)
    save(tmp_path / "data", tmp_path / "copies")
    inode = path.stat().st_ino
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("DELETE FROM one")
        reader.execute("PRAGMA user_version = 7")
        reader.commit()
        done = load(tmp_path / "data", tmp_path / "copies")
        assert done.returncode == 0, done.stderr
        assert reader.execute("SELECT count(*) FROM one").fetchone() == (50,)
    assert (path.stat().st_ino, path.stat().st_mode & 0o777) == (inode, 0o640)
    with closing(sqlite3.connect(path)) as app:
        assert app.execute("PRAGMA journal_mode").fetchone() == (mode,)
        assert app.execute("PRAGMA user_version").fetchone() == (0,)
    assert sorted(file.name for file in path.parent.iterdir()) == ["app.db"]


def test_missing_and_damaged_files_are_replaced(tmp_path: Path) -> None:
    data = tmp_path / "data"
    gone, damaged, missing = (make_database(data / name) for name in ("gone.db", "damaged.db", "a/missing.db"))
    save(data, tmp_path / "copies")
    log = gone.with_name("gone.db-wal")
    with closing(sqlite3.connect(gone)) as app:
        app.execute("DELETE FROM one")
        app.commit()
        newer = log.read_bytes()
    log.write_bytes(newer)
    gone.unlink()
    damaged.write_bytes(b"no database at all" * 1000)
    missing.unlink()
    missing.parent.rmdir()
    assert load(data, tmp_path / "copies").returncode == 0
    assert count_rows(gone) == count_rows(damaged) == count_rows(missing) == (50, 50)
    with closing(sqlite3.connect(gone)) as app:
        assert app.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_only_databases_are_copied(tmp_path: Path) -> None:
    """An uploaded file with the header of a database does not stop the backup, and no link is followed."""
    data = tmp_path / "data"
    make_database(data / "100 %?#.db")
    uploaded = data / "uploaded.db"
    uploaded.write_bytes(b"SQLite format 3\0" + b"hello" * 100)
    (data / "photo.jpg").write_bytes(b"\xff\xd8")
    (data / "empty.db").touch()
    os.mkfifo(data / "pipe")
    (data / "link.db").symlink_to(make_database(tmp_path / "other" / "x.db"))
    (data / "other").symlink_to(tmp_path / "other")
    done = save(data, tmp_path / "copies")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "copies") as archive:
        names = [Path("/", name) for name in archive.getnames()]
    assert names == [data / "100 %?#.db", uploaded]
    before = uploaded.read_bytes()
    uploaded.unlink()
    assert load(data, tmp_path / "copies").returncode == 0
    assert uploaded.read_bytes() == before


def test_changed_page_size_goes_back(tmp_path: Path) -> None:
    path = make_database(tmp_path / "data" / "app.db")
    save(tmp_path / "data", tmp_path / "copies")
    with closing(sqlite3.connect(path)) as app:
        for statement in ("journal_mode = DELETE", "page_size = 8192"):
            app.execute(f"PRAGMA {statement}")
        app.execute("VACUUM")
        app.execute("PRAGMA journal_mode = WAL")
    done = load(tmp_path / "data", tmp_path / "copies")
    assert done.returncode == 0, done.stderr
    assert count_rows(path) == (50, 50)


def test_foreign_places_are_refused(tmp_path: Path) -> None:
    make_database(tmp_path / "data" / "app.db")
    save(tmp_path / "data", tmp_path / "copies")
    before = (tmp_path / "data" / "app.db").read_bytes()
    done = load(tmp_path / "uploads", tmp_path / "copies")
    assert (done.returncode, "is not in the app's directories" in done.stderr) == (1, True)
    assert (tmp_path / "data" / "app.db").read_bytes() == before
    assert not (tmp_path / "uploads").exists()


@pytest.mark.parametrize("content", [b"", b"no archive" * 1000])
def test_unreadable_stream_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "copies").write_bytes(content)
    done = load(tmp_path, tmp_path / "copies")
    assert (done.returncode, done.stderr.startswith("the copies cannot be read: ")) == (1, True)


def test_full_disk_is_named(tmp_path: Path) -> None:
    make_database(tmp_path / "data" / "app.db")
    done = save(tmp_path / "data", Path("/dev/full"))
    assert done.returncode == 1
    assert "the copies cannot be written: [Errno 28] No space left on device" in done.stderr
