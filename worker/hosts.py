"""Git hosts that keep a round of looks waiting: where two waited in vain, nobody else waits."""

from collections import Counter
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

# One repository alone may be slow; and an app whose own limit is short says little about its host.
_ENOUGH: Final = 2


class Hosts:
    """What one round has learnt about hosts; several threads may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waits: Counter[str] = Counter()

    def kept_waiting(self, repository: str) -> None:
        """Remember that the repository's host gave no answer in time."""
        with self._lock:
            self._waits[host_of(repository)] += 1

    def is_given_up(self, repository: str) -> bool:
        """Tell whether waiting for the repository's host is of no use in this round."""
        with self._lock:
            return self._waits[host_of(repository)] >= _ENOUGH


def host_of(repository: str) -> str:
    """Name the host of a repository, with its port; a directory of this machine stands for itself."""
    if "://" not in repository:
        return repository.partition(":")[0].rpartition("@")[2].lower()
    return urlsplit(repository).netloc.rpartition("@")[2].lower() or repository
