"""The one script at the top: what it says to wrong use, and what it asks for when something is missing."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import PROJECT


def run(*arguments: str, path: str = os.environ["PATH"]) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": path, "HOME": os.environ.get("HOME", "/")}
    command = ["/bin/sh", str(PROJECT / "run"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="run-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("bench",)])
def test_wrong_use_shows_the_usage(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "./run COMMAND" in done.stdout


PYTHON = """#!/bin/sh
case "$*" in
    "-m venv"*) echo made >>"$LOG"; sleep 1; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    *purelib*) echo "${0%/*}" ;;
esac
"""


def test_two_at_once_set_up_once(open_path: Path) -> None:
    """A second script waits for the first one in a fresh checkout."""
    tools = open_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "cat", "cksum", "git", "mkdir", "sleep", "cp", "rm", "chmod", "flock"):
        (tools / name).unlink(missing_ok=True)
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "python3").write_text(PYTHON)
    (tools / "python3").chmod(0o755)
    (open_path / "units").mkdir()
    (open_path / "units" / "requirements-local.txt").touch()
    script = open_path / "run"
    script.write_bytes((PROJECT / "run").read_bytes())
    environment = {"PATH": str(tools), "LOG": str(open_path / "log")}
    both = [subprocess.Popen(["/bin/sh", str(script), "hookd"], env=environment) for _ in range(2)]
    assert [one.wait(30) for one in both] == [0, 0]
    assert (open_path / "log").read_text() == "made\n"
    assert not (open_path / ".venv.lock.d").exists()


@pytest.mark.promise(4)
@pytest.mark.skipif(os.geteuid() != 0, reason="root, to become somebody else")
def test_missing_packages_are_named(open_path: Path) -> None:
    """A user without root's rights runs the script on a machine without git."""
    tools = open_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "id", "cat", "cksum"):
        (tools / name).symlink_to(Path("/usr/bin") / name)
    script = open_path / "run"
    script.write_bytes((PROJECT / "run").read_bytes())
    done = subprocess.run(
        ["/bin/sh", str(script), "demo"], env={"PATH": str(tools)}, user=65534, group=65534, cwd="/",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "hookd: missing: git ca-certificates\n  next: sudo apt-get install -y git ca-certificates\n"
