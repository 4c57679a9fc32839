"""Runs commands in a machine as one of its users: no terminal, a stated environment, and an end to every wait."""

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ALL = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Account:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str


def account(disk: Path, name: str) -> Account:
    """Look a user up in the machine's own list, or fail the test."""
    for line in (disk / "etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return Account(name, int(fields[2]), int(fields[3]), fields[5])
    raise AssertionError(f"the machine has no user {name}")


def group_id(disk: Path, name: str) -> int:
    """Look a group up in the machine's own list, or fail the test."""
    for line in (disk / "etc/group").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    raise AssertionError(f"the machine has no group {name}")


def command_line(leader: int, who: Account, argv: tuple[str, ...], env: Mapping[str, str], directory: str) -> list[str]:
    """Build the host's command line that runs `argv` inside as `who`, with its groups."""
    variables = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": who.home, "USER": who.name, "LOGNAME": who.name, **env}
    return [
        *("nsenter", f"--target={leader}", *_ALL, "--"),
        *("setpriv", f"--reuid={who.uid}", f"--regid={who.gid}", "--init-groups", "--inh-caps=-all", "--"),
        *("env", "-i", "-C", directory, *(f"{name}={value}" for name, value in variables.items())),
        *argv,
    ]


def run(command: list[str], text: str | None, seconds: float) -> Done:
    """Run a command to its end. After the time limit, kill its process group and fail the test."""
    stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
    with subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(text, seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            raise AssertionError(f"{' '.join(command)} took more than {seconds:g} s:\n{output}{errors}") from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
