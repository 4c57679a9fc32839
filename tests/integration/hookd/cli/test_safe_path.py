"""A directory that somebody happens to stand in lends no module to hookd: root types `hookd` anywhere."""

import subprocess
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.processes import PROJECT, python

TRAP = "import pathlib\npathlib.Path(__file__).with_name('marker').touch()\n"


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A directory whose owner hopes that root types a command in it."""
    directory = tmp_path / "trap"
    (directory / "worker").mkdir(parents=True)
    for name in (
        "worker/__init__.py",
        "worker/__main__.py",
        "worker/boot.py",
        "redis.py",
        "rq.py",
        "click.py",
        "json.py",
    ):
        (directory / name).write_text(TRAP)
    return directory


@pytest.mark.threat(67)
@pytest.mark.parametrize(
    "module", [["hookd.cli", "worker"], ["hookd.cli", "status"], ["worker"], ["worker.boot", "shop"]]
)
def test_a_planted_module_is_not_run(tmp_path: Path, trap: Path, module: list[str]) -> None:
    """The password that Redis asks for is not there: every one of them ends at once."""
    installation = Installation(tmp_path, {"redis": {"passwords": tmp_path / "nowhere"}})
    installation.add_app("shop")
    environment = {**installation.environment, "PYTHONPATH": str(PROJECT)}
    argv = python("-P", "-m", *module)
    done = subprocess.run(argv, cwd=trap, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert not list(trap.rglob("marker"))
    assert "Traceback" not in done.stderr
    expected = "nothing is deployed yet" if module[0] == "worker.boot" else "hookd-"
    assert expected in done.stdout + done.stderr
