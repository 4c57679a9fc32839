"""Times the phases of a deployment: a program of `phases.py` on its server, run by root.

It gets its plan as JSON, and prints for each phase `[[through its unit, directly], ...]` in seconds.
"""

import json
import os
import pwd
import subprocess
import sys
import time
from typing import Any

_PIECE = 65_536


def main() -> None:
    """Follow the plan."""
    given = json.load(sys.stdin)
    # As in the worker: the pipe has no end while a command of the unit starts the next.
    pipe = os.open(given["pipe"], os.O_RDWR | os.O_NONBLOCK)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in given["phases"]}
    for _ in range(given["starts"]):
        for name, phase in given["phases"].items():
            with open(given["build"], "w") as file:
                json.dump(given["commands"], file)
            through = _seconds(given, given["worker"], phase["unit"])
            os.read(pipe, _PIECE)
            seen[name].append((through, _seconds(given, phase["user"], phase["direct"])))
    os.truncate(given["build"], 0)
    print(json.dumps(seen))


def _seconds(given: dict[str, Any], user: str, argv: list[str]) -> float:
    """Run a command as the worker runs its programs, but as any user."""
    started = time.monotonic()
    subprocess.run(
        ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *argv],
        user=user,
        group=pwd.getpwnam(user).pw_gid,
        extra_groups=[given["group"]],
        cwd=given["release"],
        env={"PATH": given["path"]},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - started


if __name__ == "__main__":
    main()
