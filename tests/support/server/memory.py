"""The memory of services on a server: each process's share, with shared pages counted once (PSS)."""

import json
from dataclasses import dataclass

from tests.support.server.machine import Machine

# Runs on the server itself, as root. Prints the service, the words and the kB of each process.
_READ = """\
import json, pathlib, re, sys
found = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        service = re.search(r"/([^/\\n]+\\.service)$", (process / "cgroup").read_text(), re.M)
        words = (process / "cmdline").read_bytes().rstrip(b"\\0").decode().split("\\0")
        share = re.search(r"^Pss: +(\\d+)", (process / "smaps_rollup").read_text(), re.M)
    except OSError:
        continue
    if service and share and service[1].startswith(sys.argv[1]):
        found.append((service[1], words, int(share[1])))
print(json.dumps(sorted(found)))
"""


@dataclass(frozen=True)
class Process:
    """A process of a service. `megabytes` are 10^6 bytes."""

    service: str
    words: tuple[str, ...]
    megabytes: float


def memory_of(machine: Machine, prefix: str) -> list[Process]:
    """Return the processes of all services whose name begins with `prefix`."""
    printed = machine.run("python3", "-c", _READ, prefix).stdout
    return [Process(service, tuple(words), kb * 1024 / 1e6) for service, words, kb in json.loads(printed)]


def idle_memory(machine: Machine) -> list[Process]:
    """Return hookd's processes once a worker rests and no timer's program runs."""
    found: list[Process] = []

    def is_idle() -> bool:
        found[:] = memory_of(machine, "hookd")
        timed = {"hookd-reconcile.service", "hookd-doctor.service"} & {each.service for each in found}
        return not timed and any(map(is_resting, found))

    machine.wait_until(is_idle, 180, "an idle server")
    return found


def is_resting(process: Process) -> bool:
    """Return True for the small program of a worker that rests."""
    return any(word.endswith("/standby.py") for word in process.words)
