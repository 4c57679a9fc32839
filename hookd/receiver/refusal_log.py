"""Refused requests on their way to Redis.

A request leaves its decision in memory and is answered at once. One thread per process writes the decisions to Redis
in batches. Without Redis it keeps the newest decisions and all counts, so a flood of unsigned requests blocks no thread
of the receiver.
"""

import atexit
import logging
import threading
import time
from collections import Counter, deque
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.model.decision import Decision
from hookd.queue.counters import NO_APP, count_refused
from hookd.queue.published import MAX_ENTRIES, append_decision

log: Final = logging.getLogger(__name__)

_BATCH_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 5.0


class RefusalLog:
    """The unwritten refusals of this process. `retry_seconds` is the pause between two tries without Redis.

    The thread starts with the first refusal, because gunicorn forks after loading the application.
    """

    def __init__(self, connection: Redis, retry_seconds: float = _RETRY_SECONDS) -> None:
        self._connection = connection
        self._retry_seconds = retry_seconds
        self._decisions: deque[Decision] = deque(maxlen=MAX_ENTRIES)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._has_new = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_redis_away = False
        self._has_write_errors = False

    def note(self, decision: Decision, *, signature: bool) -> None:
        """Queue a refusal. `signature` counts it as a refused signature."""
        with self._lock:
            self._decisions.append(decision)
            if signature:
                self._counts[decision.app or NO_APP] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="refusal log", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
        self._has_new.set()

    def flush(self) -> bool:
        """Write all refusals to Redis. Returns False without Redis."""
        with self._lock:
            decisions, counts = list(self._decisions), self._counts
            self._decisions.clear()
            self._counts = Counter()
        try:
            self._write(decisions, counts)
        except RedisError as error:
            self._restore(decisions, counts)
            if not self._is_redis_away:
                event(log, "refusals wait for Redis", logging.WARNING, why=type(error).__name__)
            self._is_redis_away = True
            return False
        self._is_redis_away = False
        return True

    def _run(self) -> None:
        while True:
            self._has_new.wait()
            time.sleep(_BATCH_SECONDS)
            self._has_new.clear()
            while not self.flush():
                time.sleep(self._retry_seconds)

    def _write(self, decisions: list[Decision], counts: Counter[str]) -> None:
        if not decisions and not counts:
            return
        with self._connection.pipeline() as pipeline:
            for decision in decisions:
                append_decision(pipeline, decision)
            for app, count in counts.items():
                count_refused(pipeline, app, count)
            replies = pipeline.execute(raise_on_error=False)  # A key of a wrong type refuses its own entries only.
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors and not self._has_write_errors:
            event(log, "refusals not kept", logging.ERROR, notes=len(errors), why=str(errors[0]))
        self._has_write_errors = bool(errors)

    def _restore(self, decisions: list[Decision], counts: Counter[str]) -> None:
        with self._lock:
            newer = list(self._decisions)
            self._decisions.clear()
            self._decisions.extend(decisions + newer)
            self._counts += counts
