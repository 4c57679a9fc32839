"""Programs that tests start are as a person's: what the tests' own process ignores does not reach them."""

import shlex
import signal
import subprocess

from tests.support.processes import PROJECT, python

SHOW = "import subprocess, tests.conftest; subprocess.run(['grep', 'SigIgn', '/proc/self/status'], check=True)"


def test_programs_heed_ignored_signals() -> None:
    """`(./run test &)` in a script ignores Ctrl-C, and the tests that type it waited for 90 seconds each."""
    script = f"trap '' HUP INT QUIT TERM; exec {shlex.join(python('-c', SHOW))}"
    done = subprocess.run(["sh", "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    ignored = int(done.stdout.split()[1], 16)
    named = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
    assert [number for number in named if ignored & 1 << number - 1] == []
