"""What a program leaves running when it ends: found where it went, and ended.

A child that left its group and its parent (a double fork, as daemons do) comes to the nearest process above it that
adopts orphans, prctl(2) calls it a "subreaper". There it is found by its parent's id. One that forks on and on, each
time leaving its parent, is faster than any look; it ends with the unit's control group, when the worker is stopped.
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
    """Ask the kernel to kill this process when its parent dies: a dead worker's children do not go on deploying."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def become_subreaper() -> None:
    """Ask the kernel for the orphans of this process' descendants; a forked child must ask for itself."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def is_subreaper() -> bool:
    """Tell whether this process is one that adopts orphans, and so must see to their end."""
    found = ctypes.c_int()
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return bool(found.value)


def kill_descendants(seconds: float = 5.0) -> None:
    """Kill all that runs below this process, however deep, and take leave of it.

    Only for a process that has no other use for its children at that moment. What cannot be killed (a program of
    another user, or one that hangs in the kernel) is left after so many `seconds`, and named in the log.
    """
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
    """Take leave of the children that have ended, and tell whether there are others."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
        return True
    return False


def _descendants(top: int) -> Iterator[int]:
    """Name the descendants of a process, each before its own children."""
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
    """Read what the kernel says of a process, from its state on (proc(5), /proc/PID/stat); raises OSError."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def fork_supervised(worker: int) -> None:
    """Fork: the child returns and deploys, this process stays until the child, or the `worker`, has ended."""
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
    """Wait, end what is left, and end as the child did; `worker` is a descriptor of that process."""
    select.select([os.pidfd_open(child), worker], [], [])
    ended, status = os.waitpid(child, os.WNOHANG)
    kill_descendants()
    if ended and os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    os.kill(os.getpid(), signal.SIGKILL)  # So the worker sees that no ending was recorded.
    os._exit(1)
