"""The processes that work in an app's releases, whoever started them: `python -m hookd.files.in_use ROOT`, by root.

It prints the name of each release in use. Only root sees the directories of other users' processes.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

_DELETED = " (deleted)"


def release_users(root: str) -> dict[str, list[int]]:
    """Return the ids of the processes in each release of an app, also in one whose directory is gone."""
    base = f"{os.path.realpath(root)}/releases/"
    used: dict[str, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            directory = os.readlink(process / "cwd")
            if directory.startswith(base):
                release = directory[len(base) :].split("/")[0].removesuffix(_DELETED)
                used.setdefault(release, []).append(int(process.name))
    return used


if __name__ == "__main__":
    sys.stdout.write("\n".join(sorted(release_users(sys.argv[1]))))
