"""Rests in place of an idle worker: `standby.py NAME LOCK SOCKET DATABASE [USER PASSWORD_FILE]`.

A worker holds 38 MB, nearly all of it imported code. One worker of a host stays ready. Each other one becomes this
program after a while without a job, in the same process, and a worker again as soon as a job waits or no worker is
ready. So this file imports only small modules, and a test names them.
"""

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, BinaryIO, Final, NoReturn

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PAUSE_SECONDS: Final = 0.25
_ANSWER_SECONDS: Final = 5.0
# A worker's entry in Redis expires after this time, as RQ's own (ttl + 60 s).
_ENTRY_SECONDS: Final = 85
_RENEWAL_SECONDS: Final = 5.0
# Redis and hookd's keys in it: hookd/queue/rq_keys.py.
READY_JOBS: Final = "rq:queue:hookd"
WORKER_PREFIX: Final = "rq:worker:"
WORKERS: Final = ("rq:workers", "rq:workers:hookd")


class RedisRefused(Exception):
    """Redis answered with an error."""


class Redis:
    """A connection that knows the few commands that a resting worker needs. It opens itself again."""

    def __init__(self, path: str, database: str, user: str = "", password_file: str = "") -> None:
        self._path = path
        self._database = database
        self._user = user
        self._password_file = password_file
        self._stream: BinaryIO | None = None

    def ask(self, *command: str) -> bytes:
        """Send a command and return its one-line answer. Raises OSError and RedisRefused."""
        try:
            if self._stream is None:
                self._stream = self._open()
            return _ask(self._stream, command)
        except OSError:
            self._stream = None
            raise

    def _open(self) -> BinaryIO:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(self._path)
            stream: Any = connection.makefile("rwb")  # It keeps the connection open.
        if self._user:
            with open(self._password_file, encoding="utf-8") as file:
                _ask(stream, ("AUTH", self._user, file.read().strip()))
        _ask(stream, ("SELECT", self._database))
        return stream  # type: ignore[no-any-return]


def _ask(stream: BinaryIO, command: Sequence[str]) -> bytes:
    words = [word.encode() for word in command]
    stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
    stream.flush()
    answer = stream.readline()
    if not answer.endswith(b"\n"):
        raise ConnectionError("Redis closed the connection")
    if answer.startswith(b"-"):
        raise RedisRefused(answer.decode("utf-8", "replace").strip())
    return answer[1:].strip()


def main(arguments: Sequence[str]) -> NoReturn:
    """Rest until a worker is needed, and become it. A signal ends the process and its entry in Redis."""
    name, lock, *address = arguments
    redis = Redis(*address)
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        rest(redis, name, lock)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # The worker unblocks them.
    except SystemExit:
        _deregister(redis, name)
        raise
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker", name])


def rest(redis: Redis, name: str, lock: str) -> None:
    """Wait until a job waits, no worker is ready, or Redis refuses a command or has lost this worker's entry."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    renewal_at = 0.0
    while not _is_free(descriptor):
        try:
            if redis.ask("LLEN", READY_JOBS) != b"0":
                return
            if time.monotonic() >= renewal_at:
                renewal_at = time.monotonic() + _RENEWAL_SECONDS
                if redis.ask("EXPIRE", f"{WORKER_PREFIX}{name}", str(_ENTRY_SECONDS)) == b"0":
                    return
        except RedisRefused:
            return
        except OSError:  # The ready worker logs a Redis that does not answer.
            pass
        time.sleep(_PAUSE_SECONDS)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _deregister(redis: Redis, name: str) -> None:
    """Leave the list of workers. Without Redis the entry expires."""
    try:
        for registry in WORKERS:
            redis.ask("SREM", registry, f"{WORKER_PREFIX}{name}")
        redis.ask("DEL", f"{WORKER_PREFIX}{name}")
    except (OSError, RedisRefused):
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
