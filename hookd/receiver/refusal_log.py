"""Brings notes of refused requests to Redis, so that none of these requests has to wait for it.

One leaves its note in memory and is answered; a thread per process brings the notes over, many at a time. While Redis
is away it keeps the newest, and the numbers of all: a flood of unsigned requests holds no thread of the receiver.
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
from hookd.queue.decision_log import MAX_ENTRIES, append_refusal

log: Final = logging.getLogger(__name__)

_GATHER_SECONDS: Final = 0.2
_AWAY_SECONDS: Final = 5.0


class RefusalLog:
    """The notes of this process; its thread starts with the first one, so that a process may fork before.

    `away_seconds` is the pause between two tries while Redis is away.
    """

    def __init__(self, connection: Redis, retry_seconds: float = _AWAY_SECONDS) -> None:
        self._connection = connection
        self._away_seconds = retry_seconds
        self._notes: deque[Decision] = deque(maxlen=MAX_ENTRIES)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False
        self._refused = False

    def add(self, decision: Decision, *, signature: bool) -> None:
        """Leave a note; `signature` tells whether it counts among the refused signatures."""
        with self._lock:
            self._notes.append(decision)
            if signature:
                self._counts[decision.app or NO_APP] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._carry, name="notebook", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
        self._news.set()

    def flush(self) -> bool:
        """Write all notes to Redis; tells whether they got there."""
        with self._lock:
            notes, counts = list(self._notes), self._counts
            self._notes.clear()
            self._counts = Counter()
        try:
            self._write(notes, counts)
        except RedisError as error:
            self._take_back(notes, counts)
            if not self._away:
                event(log, "refusals wait for Redis", logging.WARNING, why=type(error).__name__)
            self._away = True
            return False
        self._away = False
        return True

    def _carry(self) -> None:
        while True:
            self._news.wait()
            time.sleep(_GATHER_SECONDS)
            self._news.clear()
            while not self.flush():
                time.sleep(self._away_seconds)

    def _write(self, notes: list[Decision], counts: Counter[str]) -> None:
        if not notes and not counts:
            return
        with self._connection.pipeline() as pipeline:
            for decision in notes:
                append_refusal(pipeline, decision)
            for app, times in counts.items():
                count_refused(pipeline, app, times)
            found = pipeline.execute(raise_on_error=False)  # A poisoned key refuses its own notes, and no other.
        self._say([reply for reply in found if isinstance(reply, Exception)])

    def _say(self, errors: list[Exception]) -> None:
        """Say once that Redis is there and takes no notes: the worker deletes such a key."""
        if errors and not self._refused:
            event(log, "refusals not kept", logging.ERROR, notes=len(errors), why=str(errors[0]))
        self._refused = bool(errors)

    def _take_back(self, notes: list[Decision], counts: Counter[str]) -> None:
        with self._lock:
            newer = list(self._notes)
            self._notes.clear()
            self._notes.extend(notes + newer)
            self._counts += counts
