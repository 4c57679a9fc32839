"""Removes a tree, however deep it is; Python's own way gives up at a thousand levels."""

from pathlib import Path

from worker import commands
from worker.run import run


def remove_tree(tree: Path) -> None:
    """Remove a directory and all below it, or nothing when it is not there; raises CommandFailed."""
    run(commands.remove(tree), lambda line: None)
