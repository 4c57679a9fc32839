"""Output in the log cannot control a terminal, forge a line, fill the disk or reach another file."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.users import another_group
from worker.report.log import LogFile, Redaction


def written(path: Path, *texts: str) -> str:
    with LogFile(path, Redaction({"SECRET": "canary-value"})) as log:
        for text in texts:
            log.line("build", text)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "shop" / "one.log"


def test_line_has_time_step_and_text(path: Path) -> None:
    time, step, text = written(path, "made it").rstrip("\n").split(maxsplit=2)
    assert (step, text) == ("build", "made it")
    assert [len(part) for part in time.split(":")] == [2, 2, 6]


def test_log_is_appended_to(path: Path) -> None:
    written(path, "first")
    assert [line.split()[-1] for line in written(path, "second").splitlines()] == ["first", "second"]


@pytest.mark.threat(35)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("a\x1bMb", "ab"),
        ("a\x9b31mb", r"a\x9b31mb"),
        ("a\nb", r"a\nb"),
        ("a\r\nb", r"a\r\nb"),
        ("a\x00b\x07c\x7f", r"a\x00b\x07c\x7f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("user\u202etxt.exe", r"user\u202etxt.exe"),
        ("a\u2066b\u2069c", r"a\u2066b\u2069c"),
        ("a\tb", "a\tb"),
        ("größe ✓", "größe ✓"),
        ("lone \udc80", r"lone \udc80"),
    ],
)
def test_control_characters_are_escaped(path: Path, text: str, shown: str) -> None:
    line = written(path, text)
    assert line.endswith(f" {shown}\n")
    assert len(line.splitlines()) == 1


@pytest.mark.threat(61)
def test_long_text_is_cut(path: Path) -> None:
    """A message of hookd may hold a megabyte of a commit. A secret at the cut is masked first."""
    assert len(written(path, "a" * 1_500_000)) < 5000
    with LogFile(path, Redaction({"SECRET": "canary-value"})) as log:
        cause = log.clean("\0" * 1_500_000)
        assert len(cause) < 5000
        assert "canary" not in log.clean("a" * 4090 + "canary-value" * 100)


def test_credential_is_masked(path: Path) -> None:
    assert "canary-value" not in written(path, "key is canary-value")


def test_coloured_credential_is_masked(path: Path) -> None:
    assert "canary-value" not in written(path, "key is canary\x1b[1m-value\x1b[0m")


@pytest.mark.threat(61)
@pytest.mark.parametrize("sign", ["x", "€", "\x00"])
def test_flood_ends_at_the_cap(path: Path, sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.report.log.MAX_BYTES", cap := 100_000)
    text = written(path, *[sign * 4000] * 50)
    assert cap - 4200 * len(sign.encode()) < path.stat().st_size <= cap + 200
    assert text.count("the log ends here") == 1
    assert text.splitlines()[-1].startswith("… the log ends here")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def modes(*paths: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


@pytest.mark.parametrize("mask", [0, 0o022, 0o027, 0o077])
def test_log_is_private(path: Path, mask: int) -> None:
    with umask(mask):
        written(path, "x")
    assert modes(path, path.parent) == [0o600, 0o700]


@pytest.mark.skipif(another_group() is None, reason="this user has no second group")
@pytest.mark.parametrize("mask", [0, 0o022, 0o027, 0o077])
def test_group_reads_the_shared_log(path: Path, mask: int) -> None:
    group = another_group()
    assert group is not None
    logs = path.parent.parent
    logs.mkdir()
    os.chown(logs, -1, group.gr_gid)
    logs.chmod(0o2750)
    with umask(mask), LogFile(path, Redaction({}), shared=True) as log:
        log.line("build", "x")
        assert os.umask(mask) == mask
    assert modes(path, path.parent) == [0o640, 0o2750]
    assert {path.stat().st_gid, path.parent.stat().st_gid} == {group.gr_gid}


def test_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        written(path, "x")
    assert victim.read_text() == "untouched"


@pytest.mark.threat(30)
def test_full_disk_costs_the_line_only() -> None:
    with LogFile(Path("/dev/full"), Redaction({})) as log:
        log.line("build", "first")
        log.line("build", "second")
