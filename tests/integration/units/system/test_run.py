"""Other programs, run for root: their end and that of their children."""

import os
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from units.system.run import CommandFailed, run, run_bytes


def test_limit_ends_children_too(tmp_path: Path) -> None:
    """A command of `runuser` is a child of it."""
    pid = tmp_path / "pid"
    with pytest.raises(CommandFailed, match=r"took longer than 1 s:\n  begun"):
        run(("sh", "-c", f"sleep 600 & echo $! >{pid}; echo begun; wait"), seconds=1)
    wait_for(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists() or is_dead(pid), what="the child's end")


def is_dead(pid: Path) -> bool:
    return "Z" in Path(f"/proc/{pid.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]


def test_output_and_status() -> None:
    assert run_bytes(("cat",), given=b"\xff") == b"\xff"
    assert run(("sh", "-c", "pwd; echo $NAME"), extra={"NAME": "x"}) == "/\nx\n"
    with pytest.raises(CommandFailed, match=r"ended with 3:\n  why"):
        run(("sh", "-c", "echo why >&2; exit 3"))
    with pytest.raises(CommandFailed, match="cannot be run"):
        run(("/nowhere/program",))


def test_each_program_has_its_session() -> None:
    assert run(("sh", "-c", "ps -o sid= -p $$")).strip() != str(os.getsid(0))
