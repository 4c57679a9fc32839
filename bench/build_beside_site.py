"""Answers of a site while a build takes all CPU and disk that it gets, beside those of the idle server."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.on_server import catalogued, deployed_shop, succeeded
from bench.report import machine, options, percentile, table, times
from hookd.model.units.phases import phase_unit
from tests.support.server.shop import Shop
from tests.support.server.visitors import visitors

_PER_SECOND: Final = 100
_ENOUGH: Final = "/srv/shop/enough"
# Two busy processes per CPU, and one that writes and flushes.
_BUSY: Final = f"""\
for _ in $(seq $(($(nproc) * 2))); do while :; do :; done & done
until test -e {_ENOUGH}; do dd if=/dev/zero of=written bs=1M count=64 conv=fsync 2>/dev/null; done
rm written
"""
_GROUPS: Final = "/sys/fs/cgroup"
_MICROSECONDS: Final = 1e6


@dataclass(frozen=True)
class Span:
    """The seconds of each answer during a span, and the number of CPUs that a build beside them got."""

    answers: list[float]
    cpus: float = 0.0

    @property
    def p99(self) -> float:
        """The time that 99 of 100 answers do not exceed."""
        return percentile(self.answers, 0.99)


def main() -> None:
    """Measure the idle server, a build beside the site, and a build with the weights of a site."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    seconds = 2 if given.once else given.seconds
    with deployed_shop('build.commands=[["sh", "busy.sh"]]', on_disk=not given.once) as shop:
        unit = phase_unit(catalogued(shop), "build")
        idle = Span(_answers(shop, seconds))
        rows = [_row("idle", idle, idle), _row("beside a build", _beside_build(shop, unit, seconds, "busy"), idle)]
        shop.machine.run("systemctl", "set-property", "--runtime", unit, "CPUWeight=100", "IOWeight=100")
        rows.append(_row("the same with weights of 100", _beside_build(shop, unit, seconds, "busier"), idle))
        held = set(shop.machine.read(f"{_GROUPS}/cgroup.controllers").split())
    print(f"answers through nginx, {_PER_SECOND} requests per second for {seconds} s, client on the same CPUs\n")
    print(table(("site", "answers", "median ms", "p99 ms", "x idle", "build's CPUs"), rows))
    for controller, weight in (("cpu", "CPUWeight"), ("io", "IOWeight")):
        if controller not in held:
            print(f"{weight} has no effect: this kernel offers no controller {controller} in version 2")
    print(machine())


def _answers(shop: Shop, seconds: float) -> list[float]:
    """Return the seconds of each answer during a span. Ends this program after a failed request."""
    with visitors(shop.machine, shop.domain, per_second=_PER_SECOND) as crowd:
        time.sleep(seconds)
    if crowd.failures:
        raise SystemExit(f"{len(crowd.failures)} requests failed: {crowd.failures[0]}")
    return crowd.seconds


def _beside_build(shop: Shop, unit: str, seconds: float, version: str) -> Span:
    """Return a span during which a build was busy from the first to the last answer."""
    server = shop.machine
    deployment = shop.deliver(shop.commit(version, {"busy.sh": _BUSY}))
    server.wait_until(server.path("/srv/shop/next").joinpath("written").exists, what="the build")
    started, before = time.monotonic(), _cpu_seconds(shop, unit)
    answers = _answers(shop, seconds)
    cpus = (_cpu_seconds(shop, unit) - before) / (time.monotonic() - started)
    if shop.record(deployment)["status"] != "running":
        raise SystemExit(f"the build ended too early: {shop.record(deployment)}")
    server.run("touch", _ENOUGH)
    succeeded(shop, deployment)
    server.run("rm", _ENOUGH)
    return Span(answers, cpus)


def _cpu_seconds(shop: Shop, unit: str) -> float:
    """Return the CPU time of a running unit."""
    text = shop.machine.read(f"{_GROUPS}/system.slice/{unit}/cpu.stat")
    [used] = [line.split()[1] for line in text.splitlines() if line.startswith("usage_usec ")]
    return int(used) / _MICROSECONDS


def _row(name: str, span: Span, idle: Span) -> tuple[str, ...]:
    in_ms = (f"{median(span.answers) * 1000:.1f}", f"{span.p99 * 1000:.1f}")
    return name, str(len(span.answers)), *in_ms, times(span.p99, idle.p99), f"{span.cpus:.2f}"


if __name__ == "__main__":
    main()
