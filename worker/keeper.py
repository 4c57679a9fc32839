"""Stands between the worker and the process that deploys, so that nothing of a deployment outlives it.

The worker may be killed, and the deploying process, too; what a build set free would then go on. The keeper sees either
death and ends all that is left. When it is killed itself, the deploying process goes with it, and the worker, which
adopts orphans, too, ends the rest.
"""

import os
import select
import signal
from typing import NoReturn

from worker.orphans import adopt_orphans, die_with_parent, end_children


def keep(worker: int) -> None:
    """Fork: the child returns and deploys, this process stays until the child, or the `worker`, has ended."""
    adopt_orphans()
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
    adopt_orphans()


def _stay(child: int, worker: int) -> NoReturn:
    """Wait, end what is left, and end as the child did; `worker` is a descriptor of that process."""
    select.select([os.pidfd_open(child), worker], [], [])
    ended, status = os.waitpid(child, os.WNOHANG)
    end_children()
    if ended and os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    os.kill(os.getpid(), signal.SIGKILL)  # So the worker sees that no ending was recorded.
    os._exit(1)
