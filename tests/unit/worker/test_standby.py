"""The program of a resting worker: small imports, and RQ's names of keys."""

import subprocess
import sys

from hookd.queue import rq_keys
from worker import standby

SHOW = """
import runpy, sys
before = set(sys.modules)
runpy.run_path(sys.argv[1], run_name="standby")
print(*sorted(name for name in set(sys.modules) - before if "." not in name))
"""
# What the standard library's `socket` imports, and nothing of hookd or of its packages.
FEW = 60


def test_keys_are_rq_keys() -> None:
    assert standby.READY_JOBS == rq_keys.READY_JOBS
    assert standby.WORKER_PREFIX == rq_keys.WORKER_PREFIX
    assert standby.WORKERS == (rq_keys.WORKERS, rq_keys.QUEUE_WORKERS)


def test_imports_are_few() -> None:
    argv = [sys.executable, "-I", "-S", "-c", SHOW, standby.__file__]
    names = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert "socket" in names
    assert len(names) < FEW
    assert not {"hookd", "redis", "rq", "pydantic", "logging", "asyncio", "ssl", "subprocess"} & set(names)
