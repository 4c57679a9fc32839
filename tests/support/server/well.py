"""Asks `hookd doctor` how a server is."""

import json
from typing import Any

from tests.support.server.machine import Machine

Problem = dict[str, Any]


def doctor(machine: Machine, *arguments: str, user: str = "root") -> dict[str, Any]:
    """What the doctor says, as JSON; its exit status must be the one that it names."""
    done = machine.run("hookd", "doctor", "--json", *arguments, user=user, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_status"] == done.returncode
    return found


def problems(machine: Machine, *arguments: str, user: str = "root") -> list[Problem]:
    """What is not well, without what the machine's kernel brings along."""
    findings = doctor(machine, *arguments, user=user)["findings"]
    return [one for one in findings if one["level"] != "ok" and not is_kernels(one)]


def is_kernels(problem: Problem) -> bool:
    """Tell whether a problem is that of the machine under the server, whose clock and links are not ours to mend."""
    return "clock is not set by the network" in problem["message"] or problem["message"].startswith("fs.protected_")
