"""Faults of a Redis server: stopped, killed, emptied, hung, full, read-only or refusing."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.redis_server import RedisServer
from tests.faults.sender import ACCEPTED


@contextmanager
def stopped(store: RedisServer) -> Iterator[None]:
    """Stop Redis, and start it after the block."""
    store.end()
    yield
    store.start()


@contextmanager
def killed(store: RedisServer) -> Iterator[None]:
    """Kill Redis, and start it after the block."""
    store.end(signal.SIGKILL)
    yield
    store.start()


@contextmanager
def restarted(store: RedisServer) -> Iterator[None]:
    """Kill Redis and start it at once."""
    store.end(signal.SIGKILL)
    store.start()
    yield


@contextmanager
def emptied(store: RedisServer) -> Iterator[None]:
    """Lose the data of Redis."""
    store.forget()
    yield


@contextmanager
def flushed(store: RedisServer) -> Iterator[None]:
    """Delete all keys of Redis."""
    with store.operator() as client:
        client.flushall()
    yield


@contextmanager
def hung(store: RedisServer) -> Iterator[None]:
    """Suspend Redis, which then accepts connections without an answer."""
    with store.hung():
        yield


@contextmanager
def full(store: RedisServer) -> Iterator[None]:
    """Fill the memory of Redis."""
    with store.operator() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def without_room(store: RedisServer) -> Iterator[None]:
    """Fill the disk of Redis."""
    filler = fill(store)
    yield
    filler.unlink()


@contextmanager
def killed_without_room(store: RedisServer) -> Iterator[None]:
    """Fill the disk of Redis, and kill it before there is room."""
    filler = fill(store)
    yield
    store.end(signal.SIGKILL)
    filler.unlink()
    store.start()


@contextmanager
def refusing(store: RedisServer) -> Iterator[None]:
    """Remove the right to write."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "-@write")
        yield
        client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def locked(store: RedisServer) -> Iterator[None]:
    """Change the password."""
    with store.operator() as client:
        client.execute_command("ACL", "SETUSER", "default", "resetpass", ">other")
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.execute_command("ACL", "SETUSER", "default", "nopass")


@contextmanager
def read_only(store: RedisServer) -> Iterator[None]:
    """Make Redis the replica of a missing server."""
    with store.operator() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


def fill(store: RedisServer) -> Path:
    """Fill the disk of Redis' data with a file and return it."""
    filler = store.data / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass
    return filler


@dataclass(frozen=True)
class Fault:
    """A fault of Redis, and the possible answers to pushes meanwhile.

    `forgets`: earlier data may be lost. `refuses`: a worker may end and restart.
    """

    apply: Callable[[RedisServer], AbstractContextManager[None]]
    answers: tuple[int, ...] = (503,)
    forgets: bool = False
    refuses: bool = False


FAULTS = {
    "stopped": Fault(stopped),
    "killed": Fault(killed),
    "restarted": Fault(restarted, ACCEPTED),
    "emptied": Fault(emptied, ACCEPTED, forgets=True),
    "flushed": Fault(flushed, ACCEPTED, forgets=True),
    "hung": Fault(hung),
    "full": Fault(full, refuses=True),
    "refusing": Fault(refusing, refuses=True),
    "locked": Fault(locked, refuses=True),
    "read only": Fault(read_only, refuses=True),
}
# Redis notices a full disk at the first failing write, whose data are in memory only.
ON_A_SMALL_DISK = {
    "without room": Fault(without_room, (*ACCEPTED, 503), refuses=True),
    "killed without room": Fault(killed_without_room, (*ACCEPTED, 503), forgets=True, refuses=True),
}
