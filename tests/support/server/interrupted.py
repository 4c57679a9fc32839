"""Runs of a root command of hookd that are killed at one change after the other until one succeeds."""

import signal
from itertools import count
from typing import Final

from tests.support.server.commands import Done
from tests.support.server.machine import Machine

_MAX_RUNS: Final = 200
_PYTHON: Final = "/opt/hookd/current/venv/bin/python"
# Python calls its audit hooks before each of these changes. The process ends at the given number or command.
_SCRIPT: Final = """
import os, signal, sys

at = sys.argv.pop(1)
left = int(at) if at.isdigit() else 0
WATCHED = {"os.mkdir", "os.symlink", "os.rename", "os.remove", "os.rmdir", "os.chown", "os.chmod", "subprocess.Popen"}

def hook(event, arguments):
    global left
    changes = event in WATCHED and not (event == "subprocess.Popen" and is_read_only(arguments[1]))
    left -= changes
    if changes and left == 0 or event == "subprocess.Popen" and " ".join(arguments[1]) == at:
        os.kill(os.getpid(), signal.SIGKILL)

def is_read_only(argv):
    return argv[0] in ("getent", "nginx") or argv[1] in ("--version", "show", "cat")

sys.addaudithook(hook)
from hookd.cli import main
sys.argv[0] = "hookd"
main(prog_name="hookd")
"""


def interrupted(machine: Machine, *arguments: str, every: int) -> tuple[int, Done]:
    """Kill a command at its `every`th change (file, directory, command), then one change later, and so on.

    Return the number of killed runs, and the run that succeeded.
    """
    for killed in count():
        assert killed < _MAX_RUNS, f"hookd {' '.join(arguments)} does not come to an end"
        done = _run(machine, str(every + killed % every), arguments)
        if not _was_killed(done):
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"
            return killed, done
    raise AssertionError


def killed_at(machine: Machine, command: str, *arguments: str) -> None:
    """Kill a command of hookd before it runs a given program."""
    done = _run(machine, command, arguments)
    assert _was_killed(done), f"{command} did not run:\n{done.stdout}{done.stderr}"


def _run(machine: Machine, at: str, arguments: tuple[str, ...]) -> Done:
    return machine.run(_PYTHON, "-P", "-c", _SCRIPT, at, *arguments, check=False)


def _was_killed(done: Done) -> bool:
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
