"""Changes of one variable in a file: owner, mode and all other lines stay."""

import os
from pathlib import Path

import pytest

from tests.support.users import NOBODY, needs_root
from units.apps.environment import check_name, read_variables, set_variable, unset_variable
from units.system.errors import HostError, Refused

TEXT = "# About it.\nA=1\n\nB='two words'\n"
CANARY = "canary-value"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_other_lines_stay(file: Path) -> None:
    assert set_variable(file, "B", b'"quoted" $x\n')
    assert file.read_text() == TEXT.replace("'two words'", r'"\"quoted\" \$x"')
    assert read_variables(file) == {"A": "1", "B": '"quoted" $x'}
    assert unset_variable(file, "B")
    assert file.read_text() == "# About it.\nA=1\n\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_same_value_writes_nothing(file: Path) -> None:
    before = file.stat()
    assert not set_variable(file, "B", b"two words\r\n")
    assert not unset_variable(file, "C")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@needs_root
def test_owner_stays(file: Path) -> None:
    os.chown(file, 0, NOBODY)
    set_variable(file, "C", b"3")
    assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (0, NOBODY, 0o640)


@pytest.mark.parametrize(
    ("name", "content"),
    [("PATH", b"/bin"), ("1A", b"x"), ("A", b"one\ntwo"), ("A", b"a\0b"), ("A", b"\xff"), ("A", b"x" * 131_070)],
)
def test_refusal_changes_nothing(file: Path, name: str, content: bytes) -> None:
    with pytest.raises(Refused):
        set_variable(file, name, content)
    assert file.read_text() == TEXT


def test_all_problems_at_once(file: Path) -> None:
    with pytest.raises(Refused) as refused:
        set_variable(file, "1A", f"{CANARY}\n\0".encode())
    assert len(refused.value.reasons) == 3
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("line", [f"export A={CANARY}", f"A={CANARY} # note"])
def test_misread_file_stays(file: Path, line: str) -> None:
    file.write_text(f"{line}\n")
    for change in (lambda: check_name(file, "B"), lambda: set_variable(file, "B", b"2"), lambda: read_variables(file)):
        with pytest.raises(Refused) as refused:
            change()
        assert f"{file} line 1: " in str(refused.value) and CANARY not in str(refused.value)
    assert file.read_text() == f"{line}\n"


def test_link_is_not_followed(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    for path in (link, file.with_name("missing")):
        with pytest.raises(HostError, match="no regular file"):
            set_variable(path, "A", b"2")
    assert file.read_text() == TEXT
