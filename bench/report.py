"""Options of the measurements, an aligned table, and a line with the machine and the versions."""

import argparse
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from hookd import __version__


def options(description: str | None) -> argparse.ArgumentParser:
    """Make a script's options. `--once` is one short round, which shows only that the script works."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--once", action="store_true", help="one short round: shows that it works, measures nothing")
    return parser


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align rows under their head: the first column to the left, numbers to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(_cell(line, column, widths) for column in range(len(head))).rstrip() for line in lines)


def _cell(line: Sequence[str], column: int, widths: Sequence[int]) -> str:
    return line[column].rjust(widths[column]) if column else line[column].ljust(widths[column])


def times(value: float, peer: float) -> str:
    """Show how often the peer's value goes into this one."""
    return f"{value / peer:.2f}x" if peer else "-"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine(*packages: str, **others: str) -> str:
    """Name the machine, Python, hookd, the packages that matter and other programs with their versions."""
    load = os.getloadavg()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{os.cpu_count()} x {_processor()}", f"{memory:.0f} GiB", f"{platform.system()} {platform.release()}"]
    parts += [f"load {load:.1f} at the end", f"Python {platform.python_version()}", f"hookd {__version__}"]
    parts += [f"{name} {version(name)}" for name in packages]
    parts += [f"{name} {value}" for name, value in others.items()]
    return "machine: " + ", ".join(parts)


def first_line(*argv: str) -> str:
    """Return the first line of a program's output about its version."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
