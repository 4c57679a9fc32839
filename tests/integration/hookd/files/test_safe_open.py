"""A file in another user's directory: no link is followed and no pipe is waited for."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hookd.files.safe_open import MAX_FILE_BYTES, open_regular_file


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def pipe(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


def listening(path: Path, _victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def directory(path: Path, _victim: Path) -> None:
    path.mkdir()


def huge(path: Path, _victim: Path) -> None:
    path.touch()
    os.truncate(path, 3 * 1024**3)


IN_ITS_PLACE = pytest.mark.parametrize("put", [link, pipe, listening, directory, huge])


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * MAX_FILE_BYTES)
    with open_regular_file(path) as file:
        assert file.read() == b"x" * MAX_FILE_BYTES


@pytest.mark.threat(63)
@IN_ITS_PLACE
def test_replaced_file_is_not_opened(tmp_path: Path, put: Callable[[Path, Path], None]) -> None:
    (victim := tmp_path / "victim").write_text("secret")
    (shop := tmp_path / "shop").mkdir()
    put(shop / "file", victim)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError):
        open_regular_file(shop / "file")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.threat(63)
def test_linked_directory_is_not_entered(tmp_path: Path) -> None:
    (victim := tmp_path / "victim").mkdir()
    (victim / "file").write_text("secret")
    (tmp_path / "shop").symlink_to(victim)
    with pytest.raises(OSError):
        open_regular_file(tmp_path / "shop" / "file")


def test_missing_and_forbidden_differ(tmp_path: Path) -> None:
    for path in (tmp_path / "file", tmp_path / "shop" / "file"):
        with pytest.raises(FileNotFoundError):
            open_regular_file(path)
