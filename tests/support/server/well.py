"""The findings of `hookd doctor` on a server."""

import json
from typing import Any

from tests.support.server.machine import Machine

Problem = dict[str, Any]


def doctor(machine: Machine, *arguments: str, user: str = "root") -> dict[str, Any]:
    """Run the doctor and return its JSON, which must name its exit status."""
    done = machine.run("hookd", "doctor", "--json", *arguments, user=user, check=False)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["exit_status"] == done.returncode
    return report


def problems(machine: Machine, *arguments: str, user: str = "root") -> list[Problem]:
    """Return all problems but those of the machine's kernel."""
    findings = doctor(machine, *arguments, user=user)["findings"]
    return [one for one in findings if one["level"] != "ok" and not is_kernels(one)]


def is_kernels(problem: Problem) -> bool:
    """Return True if a problem is one of the machine under the server, such as its clock."""
    starts = ("the clock is not set by the network", "fs.protected_", "the kernel does not limit apps")
    return str(problem["message"]).startswith(starts)
