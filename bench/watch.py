"""Watches what a process and all its descendants use together: memory, shared pages counted once (PSS), and CPU."""

import os
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PAUSE_SECONDS: Final = 0.1


class MemoryWatch:
    """Samples a process tree during the block. `peak_mb` is the largest sum in 10^6 bytes."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, sum(_pss(pid) for pid in tree(self._pid)) / 1e6)
            if self._over.wait(_PAUSE_SECONDS):
                return


def tree(root: int) -> list[int]:
    """Name a process and all its descendants."""
    children = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        parent = _parent(path)
        if parent is not None:
            children[parent].append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """CPU time that a process, its descendants and those of them that have ended used so far."""
    return sum(_ticks(pid) for pid in tree(root)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime


def _parent(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def _pss(pid: int) -> int:
    """Return the bytes of a process's share, or 0 for an ended process."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
