"""Redis goes, fills up, forgets or refuses while a deployment runs: that finishes, and its ending is told later."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from hookd.contract.deployment import Status
from tests.faults.conftest import Dice
from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger
from tests.faults.store import Store

PHASES = ("fetch", "build", "health", "stop old")


@contextmanager
def stopped(store: Store) -> Iterator[None]:
    """Redis is stopped in order, and started again."""
    store.end()
    yield
    store.start()


@contextmanager
def killed(store: Store) -> Iterator[None]:
    """Redis is killed, and started again."""
    store.end(signal.SIGKILL)
    yield
    store.start()


@contextmanager
def restarted(store: Store) -> Iterator[None]:
    """Redis is away for no longer than it takes."""
    store.end(signal.SIGKILL)
    store.start()
    yield


@contextmanager
def forgetful(store: Store) -> Iterator[None]:
    """Redis loses its data."""
    store.forget()
    yield


@contextmanager
def flushed(store: Store) -> Iterator[None]:
    """Somebody empties Redis."""
    with store.operator() as client:
        client.flushall()
    yield


@contextmanager
def hung(store: Store) -> Iterator[None]:
    """Redis takes connections and answers nobody."""
    with store.hung():
        yield


@contextmanager
def full(store: Store) -> Iterator[None]:
    """Redis' memory is full."""
    with store.operator() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def without_room(store: Store) -> Iterator[None]:
    """Redis' disk is full."""
    filler = store.data / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass
    yield
    filler.unlink()


@contextmanager
def refusing(store: Store) -> Iterator[None]:
    """Nobody of hookd may write any more."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "-@write")
        yield
        client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def read_only(store: Store) -> Iterator[None]:
    """Redis has become the replica of a server that is not there."""
    with store.operator() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


FAULTS: dict[str, Callable[[Store], Any]] = {
    fault.__name__: fault
    for fault in (stopped, killed, restarted, forgetful, flushed, hung, full, without_room, refusing, read_only)
}
FORGETS = ("forgetful", "flushed")


@pytest.fixture(scope="module")
def small_disk(keeper: Keeper) -> Iterator[Store]:
    """Redis' data on a disk of its own that a test can fill."""
    store = keeper.store
    store.end()
    kept = store.data.rename(store.data.with_name("kept"))
    store.data.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(store.data)], check=False
        ).returncode
    )
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(store.data)], check=True)
        store.start()
        yield store
    finally:
        if mounted:
            store.end()
            subprocess.run(["umount", str(store.data)], check=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_deployment_outlasts_redis(keeper: Keeper, ledger: Ledger, dice: Dice, fault: str, small_disk: Store) -> None:
    phases = dice.some(PHASES if fault != "hung" or dice.is_long else PHASES[-1:], 1)
    for phase in phases:
        deployment = keeper.push()
        keeper.wait_for_step(deployment, phase)
        with FAULTS[fault](small_disk):
            keeper.wait_until_done(deployment)
            assert keeper.serving() == f"v{keeper.versions}", "it needs Redis for its record only"
            time.sleep(dice.chance.uniform(0, 1))  # Its ending meets the fault, or what comes after.
        keeper.wait_until_head_serves()
        record = keeper.site.records.find(deployment.id)
        assert record is None if fault in FORGETS else record is not None and record.status is Status.SUCCEEDED
    dice.count(ledger.counted(f"Redis {fault} at {', '.join(phases)}"))
