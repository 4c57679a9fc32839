"""The app's directory in a repository: the top, or the directories that can be served."""

import posixpath
import re
from typing import Final

from units.finders.project import Project
from units.finders.service import find_service
from units.finders.tree import Tree

PROJECT_FILES: Final = frozenset(
    "manage.py requirements.txt pyproject.toml Pipfile setup.py setup.cfg uv.lock poetry.lock pdm.lock pylock.toml "
    "Procfile wsgi.py".split()
)
_SKIPPED: Final = re.compile(r"(?:^|/)(?:tests?|docs?|node_modules|venv|\.[^/]*|[^/]*[{}][^/]*)(?:/|$)")
_MAX_CANDIDATES: Final = 40
_MAX_DEPTH: Final = 3


def find_directories(tree: Tree) -> tuple[str | None, ...]:
    """Return the directories with an app: None for the top alone, else those below it, or () without any."""
    top = Project(tree)
    if find_service(top).kind != "unknown":
        return (None,)
    found = [path for path in _candidates(tree) if find_service(Project(tree, path)).kind != "unknown"]
    return tuple(path for path in found if not any(path.startswith(f"{other}/") for other in found))


def _candidates(tree: Tree) -> list[str]:
    """Return the directories below the top with a file that a project has, the nearest first."""
    found = {
        posixpath.dirname(path)
        for path in tree.paths
        if "/" in path and posixpath.basename(path) in PROJECT_FILES and path.count("/") <= _MAX_DEPTH
    }
    kept = [path for path in found if not _SKIPPED.search(path)]
    return sorted(kept, key=lambda path: (path.count("/"), path))[:_MAX_CANDIDATES]
