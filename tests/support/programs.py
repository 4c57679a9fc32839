"""Programs of the host that tests need: installed when they are missing and may be, else a skip, or a failure in CI."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server.needs import install_packages

_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def program(name: str, package: str) -> str:
    """Find a program. Root on Debian installs a missing one, and otherwise the test is skipped.

    Where real servers are demanded, it fails the test.
    """
    found = shutil.which(name, path=_PATH)
    if found is None and os.geteuid() == 0 and install_packages(package) is None:
        found = shutil.which(name, path=_PATH)
    if found:
        return found
    why = f"there is no {name} here; on Debian: apt-get install {package}"
    if os.environ.get("HOOKD_DEMAND_SERVER") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def run(*argv: str, cwd: Path | None = None, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program and return what it printed, both streams in one."""
    return subprocess.run(
        argv,
        cwd=cwd,
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
