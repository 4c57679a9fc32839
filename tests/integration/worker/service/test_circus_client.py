"""The client of circus: errors, a silent socket and unknown services."""

import subprocess
from pathlib import Path

import pytest

from tests.support.installation import Installation
from worker.service.circus_client import client_argv

APPS: dict[str, dict[str, str]] = {"shop": {}}


def ask(endpoint: str, verb: str, name: str, seconds: int = 30) -> "subprocess.CompletedProcess[str]":
    """Send a command and wait for the answer."""
    argv = client_argv(endpoint, seconds, verb, name)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_silence_ends_the_question(tmp_path: Path) -> None:
    done = ask(f"ipc://{tmp_path}/nobody.sock", "status", "shop", seconds=1)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"circus did not answer at ipc://{tmp_path}/nobody.sock within 1 s\n"


@pytest.mark.parametrize("verb", ["status", "list", "start"])
def test_an_unknown_service_is_an_error(site: Installation, verb: str) -> None:
    done = ask(site.endpoint, verb, "cellar")
    assert (done.returncode, done.stdout) == (3, "")
    assert "cellar" in done.stderr


def test_a_stopped_service_says_so(site: Installation) -> None:
    done = ask(site.endpoint, "status", "shop-blue")
    assert (done.returncode, done.stdout) == (0, "stopped\n")
