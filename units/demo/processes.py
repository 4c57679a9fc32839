"""Runs the demo's services during its story."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from units.demo.environment import DemoEnvironment
from units.up.services import running_beside, start, stop


@contextmanager
def running_services(demo: DemoEnvironment) -> Iterator[None]:
    """Run Redis, receiver, worker and app during the block. Raises HostError if one does not start."""
    try:
        start(demo.home)
        yield
    finally:
        stop(demo.home)


@contextmanager
def reconciling(demo: DemoEnvironment) -> Iterator[None]:
    """Look for missed pushes during the block."""
    arguments = ("--config", str(demo.home.config_file), "reconcile", "--every", "5")
    with running_beside(demo.home, (sys.executable, "-P", "-m", "hookd.cli", *arguments)):
        yield
