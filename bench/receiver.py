"""Accepted signed pushes per second, their latency and the receiver's memory, beside Debian's `webhook` package."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load import Plan
from bench.receivers import SECRET, Receiver, find_peer, hookd, peer
from bench.report import first_line, machine, options, percentile, table, times
from bench.watch import MemoryWatch, cpu_seconds
from tests.support.processes import PROJECT, python, wait_for

Start = Callable[[Path], AbstractContextManager[Receiver]]

_MOST_SECONDS: Final = 60.0
_WARM_UP: Final = 100
_FLOOD_BYTES: Final = 25 * 1024 * 1024
_FLOOD_CLIENTS: Final = 8
_MEMORY_AIM_MB: Final = 150


@dataclass(frozen=True)
class Round:
    """The result of one load on one receiver. `seconds` last until every accepted push is in Redis."""

    accepted: int
    other: int
    seconds: float
    latencies: list[float]
    peak_mb: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Pushes that were accepted and stored, per second."""
        return self.accepted / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU time for one push, which other load on the machine changes little."""
        return 1000 * self.cpu_seconds / max(1, self.accepted)

    def latency_ms(self, share: float) -> float:
        """Return the time within which that share of the requests was answered."""
        return 1000 * percentile(self.latencies, share)


def main() -> None:
    """Measure every receiver in turn, several times, and print the tables."""
    given = _given()
    apps = [f"app-{number:04d}" for number in range(given.apps)]
    starts = _contestants(apps)
    if given.once:  # The first and its peer.
        starts = dict([*starts.items()][:: len(starts) - 1])
    rounds: dict[str, list[Round]] = {name: [] for name in starts}
    for _ in range(given.rounds):
        for name, start in starts.items():
            rounds[name].append(_measure(start, apps, given))
    print(f"{given.pushes} signed 10 kB pushes to {given.apps} apps from {given.clients} clients,", end=" ")
    print(f"median of {given.rounds} rounds; `x` compares with the last line\n")
    print(_speed_table(rounds))
    print(f"\n{min(given.flood, _FLOOD_CLIENTS)} clients send {given.flood} unsigned bodies of 25 MiB\n")
    print(_flood_table({name: _flood(start, apps, given.flood) for name, start in starts.items()}))
    print(f"\n{_advice(rounds)}")
    print(machine("flask", "gunicorn", "redis", "rq", **_versions()))


def _given() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--apps", type=int, default=20)
    parser.add_argument("--pushes", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flood", type=int, default=40, help="unsigned bodies of 25 MiB")
    given = parser.parse_args()
    if given.once:
        given.pushes, given.clients, given.rounds, given.flood = 20, 1, 1, 1
    return given


def _contestants(apps: list[str]) -> dict[str, Start]:
    found: dict[str, Start] = {
        f"hookd, processes = {count}": partial(hookd, apps=apps, processes=count) for count in (1, 2)
    }
    programs = find_peer()
    if programs:
        found["webhook, answers first"] = partial(peer, apps=apps, programs=programs, waits=False)
        found["webhook, answers when stored"] = partial(peer, apps=apps, programs=programs, waits=True)
    return found


def _measure(start: Start, apps: list[str], given: argparse.Namespace) -> Round:
    with tempfile.TemporaryDirectory(prefix="hookd-bench-") as name, start(Path(name)) as receiver:
        _load(receiver, apps, clients=2, requests=min(_WARM_UP, given.pushes))
        return _load(receiver, apps, clients=given.clients, requests=given.pushes)


def _load(receiver: Receiver, apps: list[str], *, clients: int, requests: int, flood: int = 0) -> Round:
    """Let clients send at once and wait until everything that was accepted has landed."""
    before, cpu = receiver.landed(), cpu_seconds(receiver.pid)
    each = requests // clients
    plans = [
        Plan(receiver.port, apps, SECRET, each, number * each, _MOST_SECONDS, flood=flood) for number in range(clients)
    ]
    with MemoryWatch(receiver.pid) as memory:
        seen = _send(plans)
        accepted = sum(status in (200, 202) for _, _, status in seen)
        ended = max(started + took for started, took, _ in seen)
        if receiver.landed() - before < accepted:
            wait_for(lambda: receiver.landed() - before >= accepted, _MOST_SECONDS, "the last push in Redis")
            ended = time.monotonic()
    if not flood and not accepted:
        raise SystemExit("the receiver accepted nothing")
    seconds = ended - min(started for started, _, _ in seen)
    latencies = [took for _, took, _ in seen]
    used = cpu_seconds(receiver.pid) - cpu
    return Round(accepted, len(seen) - accepted, seconds, latencies, memory.peak_mb, used)


def _send(plans: list[Plan]) -> list[tuple[float, float, int]]:
    """Run one process per plan, all from the same moment, and collect what they saw."""
    argv = python(str(PROJECT / "bench" / "load.py"))
    clients = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in plans]
    try:
        for client, plan in zip(clients, plans, strict=True):
            _tell(client, plan.encoded())
        for client in clients:
            _hear(client)
        for client in clients:
            _tell(client, "go")
        return [(row[0], row[1], row[2]) for client in clients for row in json.loads(_hear(client))]
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def _tell(client: "subprocess.Popen[str]", line: str) -> None:
    if client.stdin is not None:
        client.stdin.write(f"{line}\n")
        client.stdin.flush()


def _hear(client: "subprocess.Popen[str]") -> str:
    return client.stdout.readline() if client.stdout is not None else ""


def _flood(start: Start, apps: list[str], bodies: int) -> Round:
    with tempfile.TemporaryDirectory(prefix="hookd-bench-") as name, start(Path(name)) as receiver:
        return _load(receiver, apps, clients=min(bodies, _FLOOD_CLIENTS), requests=bodies, flood=_FLOOD_BYTES)


def _speed_table(rounds: dict[str, list[Round]]) -> str:
    values: list[Callable[[Round], float]] = [
        lambda each: each.per_second,
        lambda each: each.latency_ms(0.5),
        lambda each: each.latency_ms(0.99),
        lambda each: each.peak_mb,
        lambda each: each.cpu_ms,
    ]
    last = list(rounds.values())[-1]
    rows = []
    for name, many in rounds.items():
        cells = [cell for value in values for cell in _beside(many, last, value)]
        rows.append((name, *cells, str(sum(each.other for each in many))))
    names = ("stored/s", "p50 ms", "p99 ms", "peak MB", "CPU ms")
    return table(("receiver", *(cell for name in names for cell in (name, "x")), "not accepted"), rows)


def _beside(many: list[Round], peers: list[Round], value: Callable[[Round], float]) -> tuple[str, str]:
    """Return the median, and the median ratio to the peer in the same round, because other load affects both."""
    ratio = median(value(each) / value(peer) for each, peer in zip(many, peers, strict=True))
    return f"{median(value(each) for each in many):.3g}", f"{ratio:.2f}x"


def _flood_table(floods: dict[str, Round]) -> str:
    last = list(floods.values())[-1]
    rows = [
        (name, str(each.accepted), str(each.other), f"{each.seconds:.1f}", f"{each.peak_mb:.0f}",
         times(each.peak_mb, last.peak_mb))
        for name, each in floods.items()
    ]  # fmt: skip
    return table(("receiver", "accepted", "refused", "seconds", "peak MB", "x"), rows)


def _advice(rounds: dict[str, list[Round]]) -> str:
    """Name the number of processes that stored most within the memory that the receiver should keep to."""
    own = {name: many for name, many in rounds.items() if name.startswith("hookd")}
    lean = {name: many for name, many in own.items() if max(each.peak_mb for each in many) < _MEMORY_AIM_MB}
    if not lean:
        return f"every hookd used more than {_MEMORY_AIM_MB} MB"
    best = max(lean, key=lambda name: median(each.per_second for each in lean[name]))
    return f"most pushes per second under {_MEMORY_AIM_MB} MB: {best}"


def _versions() -> dict[str, str]:
    programs = find_peer()
    argv: dict[str, Sequence[str]] = {}
    if programs:
        argv = {"webhook": (programs.webhook, "-version"), "client": (programs.client, "--version")}
    return {name: first_line(*words).split()[-1] for name, words in argv.items()}


if __name__ == "__main__":
    main()
