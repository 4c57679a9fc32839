"""Start an environment with the files of an earlier one: each file is a second name of the same inode.

No build can change them: their owner is the worker, a build owns only the directories, and no file has a write bit.
"""

import os
import stat
from pathlib import Path
from typing import Final

from hookd.files.build_owner import COMPLETE_MARK
from worker.environment.commands import CONSTRAINTS, PACKAGES
from worker.process.run import remove_tree

# What belongs to one environment alone.
_OWN: Final = frozenset({COMPLETE_MARK, PACKAGES, CONSTRAINTS, ".lock"})
_MAX_MARK: Final = 200


def find_base(venvs: Path, family: str) -> Path | None:
    """Return the newest complete environment of a family, or None."""
    found = []
    for venv in venvs.iterdir():
        mark = venv / COMPLETE_MARK
        if read_family(venv) == family:
            found.append((mark.lstat().st_mtime_ns, venv))
    return max(found)[1] if found else None


def read_family(venv: Path) -> str | None:
    """Return the family of a complete environment, or None if it is not complete."""
    try:
        with os.fdopen(os.open(venv / COMPLETE_MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_MAX_MARK).decode("ascii", "replace")
    except OSError:
        return None


def link_environment(base: Path, venv: Path) -> None:
    """Link the files of an environment into an empty directory. Raises OSError.

    Programs in `bin` name their environment, so they are copied with the new name. Bytecode of modules outside of a
    package is compiled again, because uv leaves it there when it removes its module.
    """
    _link_directory(base, venv, _OWN)
    _copy_programs(base, venv)
    for bytecode in venv.glob("lib/python3*/site-packages/__pycache__"):
        remove_tree(bytecode)


def _link_directory(base: Path, venv: Path, left_out: frozenset[str]) -> None:
    with os.scandir(base) as entries:
        for entry in entries:
            if entry.name in left_out:
                continue
            target = venv / entry.name
            if not entry.is_dir(follow_symlinks=False):
                os.link(entry.path, target, follow_symlinks=False)
                continue
            target.mkdir()
            _link_directory(Path(entry.path), target, frozenset())


def _copy_programs(base: Path, venv: Path) -> None:
    old, new = os.fsencode(base), os.fsencode(venv)
    for path in (venv / "bin").iterdir():
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            continue
        content = path.read_bytes()
        if old in content and b"\0" not in content:
            path.unlink()
            path.write_bytes(content.replace(old, new))
            path.chmod(stat.S_IMODE(status.st_mode))
