"""The one script at the top: what it says to wrong use, and what it asks for when something is missing."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, python


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


@pytest.fixture
def checkout(open_path: Path) -> Path:
    """A fresh checkout with the few programs that its script needs."""
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
    return open_path


def test_two_at_once_set_up_once(checkout: Path) -> None:
    """A second script waits for the first one in a fresh checkout."""
    environment = {"PATH": str(checkout / "bin"), "LOG": str(checkout / "log")}
    command = ["/bin/sh", str(checkout / "run"), "hookd"]
    both = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [one.wait(30) for one in both] == [0, 0]
    assert (checkout / "log").read_text() == "made\n"
    assert not (checkout / ".venv.lock.d").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="root, to become somebody else")
def test_closed_checkout_is_copied(checkout: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", str(checkout / "run"), "demo"], env={"PATH": str(checkout / "bin")}, user=65534, group=65534,
        cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    copy = f"cp -R {checkout} ~/hookd && ~/hookd/run demo"
    assert (done.returncode, done.stderr) == (1, f"hookd: you may not write {checkout}\n  next: {copy}\n")


def test_wrong_install_option_has_a_hint() -> None:
    argv = python("-m", "units.host.install_code", "/none", "--bogus")
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "hookd: unrecognized arguments: --bogus\n  next: sudo ./run install --help\n"


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
