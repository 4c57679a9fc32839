"""`python -P -m units.finders REPOSITORY COMMIT [DIRECTORY]`: prints the plan of a commit as JSON."""

import datetime
import os
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hookd.model.hint import HintKind
from hookd.model.plan import TOP
from hookd.model.units.phases import MANAGED_PYTHONS
from units.finders.plan import find_plan
from units.finders.repository.tree import Unreadable, open_tree
from units.system import layout

_NAME: Final = re.compile(r"python(3\.\d+)")
_MANAGED: Final = re.compile(r"cpython-(3\.\d+)\.\d+-linux")
_SYSTEM: Final = (Path("/usr/bin"), Path("/usr/local/bin"), Path(sys.base_prefix, "bin"))
_UV: Final = (MANAGED_PYTHONS, Path.home() / ".local/share/uv/python")
# The parsers of TOML and Python need much more than the size of a hostile file.
_MEMORY_BYTES, _CPU_SECONDS = 1 << 30, 30


def interpreters(system: Sequence[Path] = _SYSTEM, managed: Sequence[Path] = _UV) -> dict[str, str]:
    """Return the versions of Python that a deployment can use, with their paths: the system's, hookd's own, uv's."""
    found: dict[str, str] = {}
    for path in (path for directory in system for path in _listed(directory)):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(match[1], str(path))
    for path in (path for directory in managed for path in _listed(directory)):
        if match := _MANAGED.match(path.name):
            found.setdefault(match[1], str(path / "bin" / f"python{match[1]}"))
    return found


def install_hint() -> HintKind:
    """Return the kind of command that installs a Python: root's on a server, else the user's own."""
    is_server = os.environ.get("HOOKD_CONFIG") == str(layout.CONFIG)
    return HintKind.INSTALL_PYTHON if is_server else HintKind.INSTALL_OWN_PYTHON


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def main(arguments: list[str]) -> int:
    """Print the plan, or the reason why there is none. Return the exit status."""
    repository, commit, *rest = arguments
    directory = None if not rest else rest[0] if rest[0] != TOP else ""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    try:
        with open_tree(Path(repository), commit) as tree:
            plan = find_plan(tree, directory, interpreters(), datetime.date.today(), install_hint())
    except (Unreadable, MemoryError) as error:
        sys.stderr.write(f"{error or 'its files need too much memory'}\n")
        return 1
    sys.stdout.write(f"{plan.to_json()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
