"""The subreaper: processes that a program leaves running are found by their parent's id, and killed.

A daemon forks twice, and so leaves its group and its parent. The nearest subreaper above becomes its parent, prctl(2).
A process that keeps forking can outrun the search. It ends with the unit's control group when the worker stops.
"""

import ctypes
import logging
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from hookd.eventlog import event

log: Final = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37
_PAUSE_SECONDS: Final = 0.005
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, so that no deployment outlives its worker."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def become_subreaper() -> None:
    """Become the parent of orphaned descendants. A forked child does not inherit this."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def is_subreaper() -> bool:
    """Return True if this process is a subreaper, which must end its orphans."""
    found = ctypes.c_int()
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return bool(found.value)


def kill_descendants(seconds: float = 5.0) -> None:
    """Kill and reap all descendants of this process, if it is a subreaper.

    Descendants that cannot be killed, such as another user's programs, are logged and left after `seconds`.
    """
    if not is_subreaper():
        return
    end = time.monotonic() + seconds
    while _has_children():
        found = list(_descendants(os.getpid()))
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() >= end:
            event(log, "processes left behind", logging.ERROR, processes=found)
            return
        time.sleep(_PAUSE_SECONDS)


def _has_children() -> bool:
    """Reap the children that have ended, and return True if others are left."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
        return True
    return False


def _descendants(top: int) -> Iterator[int]:
    """Yield the descendants of a process, each before its own children."""
    children = defaultdict(list)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            children[int(stat_fields(int(process.name))[1])].append(int(process.name))
    waiting = [top]
    while waiting:
        below = children.pop(waiting.pop(), [])
        yield from below
        waiting += below


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, proc(5). Raises OSError."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def fork_supervised(worker: int) -> None:
    """Fork: the child returns and deploys, and this process waits for the end of the child or the `worker`."""
    become_subreaper()
    try:
        above = os.pidfd_open(worker)
    except ProcessLookupError:
        os._exit(1)
    if os.getppid() != worker:
        os._exit(1)
    own = os.getpid()
    child = os.fork()
    if child:
        _stay(child, above)
    os.close(above)
    die_with_parent()
    if os.getppid() != own:
        os._exit(1)
    become_subreaper()


def _stay(child: int, worker: int) -> NoReturn:
    """Wait, kill all descendants, and end as the child did. `worker` is a descriptor of that process."""
    select.select([os.pidfd_open(child), worker], [], [])
    ended, status = os.waitpid(child, os.WNOHANG)
    kill_descendants()
    if ended and os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    os.kill(os.getpid(), signal.SIGKILL)  # The worker sees that no ending was recorded.
    os._exit(1)
