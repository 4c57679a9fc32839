"""Counts how often in a row the deploying process died of a commit, so that one that kills it each time is left alone.

A file beside the app's lock, used under that lock. It stands there from the decision to deploy until the process comes
to an end of its own, a bad one too: who finds it knows that the process before was killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hookd.contract.journal import AppState, Quarantined
from worker.task import Task

# One may be chance, as a power cut is; after so many in a row the commit is to blame.
ENOUGH: Final = 3


def deaths_of(path: Path, commit: str) -> int:
    """How many processes in a row were killed while they deployed this commit; what cannot be read counts as none."""
    with suppress(OSError, ValueError):
        found, number = path.read_text(encoding="utf-8").split()
        return int(number) if found == commit else 0
    return 0


@contextmanager
def death_counted(path: Path, commit: str) -> Iterator[None]:
    """Count a death for as long as the block; a disk without room for that is no reason to deploy nothing."""
    number = deaths_of(path, commit) + 1
    try:
        with suppress(OSError):
            path.write_text(f"{commit} {number}\n", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)


def quarantine_deadly(task: Task, state: AppState, commit: str) -> AppState:
    """Quarantine a commit that killed whoever deployed it; a redelivery and a person may still try it again."""
    number = deaths_of(task.places.deaths, commit)
    if number < ENOUGH or any(old.commit == commit for old in state.quarantined):
        return state
    cause = f"the deploying process was killed {number} times in a row"
    task.recorder.line(f"{cause}; {commit} is quarantined")
    return task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause=cause))
