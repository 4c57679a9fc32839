"""How far an app is behind its branch's head, since when and why: for people who would otherwise see silence."""

from typing import Final

from hookd.model.app import App
from hookd.model.journal import AppState
from hookd.model.settings import Settings
from worker.errors import CommandFailed
from worker.probe import git_for
from worker.process.run import lines_of

_SECONDS: Final = 10.0


def lag_reason(state: AppState, head: str, failure: str = "") -> str:
    """Say that the head does not serve, and how the last try to bring it ended."""
    serving = state.deployed.commit[:12] if state.deployed else "nothing"
    return f"{head[:12]} is the branch's head, and {serving} serves{f'; the last try {failure}' if failure else ''}"


def commits_behind(app: App, settings: Settings, state: AppState, head: str | None) -> int | None:
    """Count the commits from what serves to the head; None where that is not known, or nothing is to be counted."""
    if head is None or state.deployed is None or state.deployed.commit == head:
        return None
    return count_commits(app, settings, state.deployed.commit, head)


def count_commits(app: App, settings: Settings, base: str, head: str) -> int | None:
    """Count the commits from one to the other.

    None when the mirror does not hold both, as nothing is fetched for this, or when history was rewritten.
    """
    try:
        lines = lines_of(git_for(app, settings, _SECONDS).count(base, head), alone=False)
    except CommandFailed:
        return None
    left, _, right = (lines or [""])[-1].partition("\t")
    return int(right) if left == "0" and right.isdigit() else None
