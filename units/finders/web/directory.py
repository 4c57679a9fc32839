"""The app's directory in a repository: the top, or the directories that can be served."""

import posixpath
import re
from typing import Final

from units.finders.code.project import Project
from units.finders.repository.tree import Tree
from units.finders.web.service import Service, find_service

_PROJECT_FILES: Final = frozenset(
    "manage.py requirements.txt pyproject.toml Pipfile setup.py setup.cfg uv.lock poetry.lock pdm.lock pylock.toml "
    "Procfile wsgi.py".split()
)
_LISTS: Final = _PROJECT_FILES - {"manage.py", "wsgi.py", "Procfile"}
_SKIPPED: Final = re.compile(r"(?:^|/)(?:tests?|docs?|node_modules|venv|\.[^/]*|[^/]*[{}][^/]*)(?:/|$)")
_MAX_CANDIDATES: Final = 40
_MAX_DEPTH: Final = 3


def find_apps(tree: Tree) -> tuple[tuple[Project, Service], ...]:
    """Return the app at the top alone, else those of the directories below it, or () without any."""
    top = Project(tree)
    service = find_service(top)
    if service.kind != "unknown" and not _is_below(top, service):
        return ((top, service),)
    found: list[tuple[Project, Service]] = []
    for path in _candidates(tree):
        project = Project(tree, path)
        is_inside = any(path.startswith(f"{other.directory}/") for other, _ in found)
        if not is_inside and (inner := find_service(project)).kind != "unknown":
            found.append((project, inner))
    return tuple(found)


def _is_below(top: Project, service: Service) -> bool:
    """Return True if the entry lies in a directory with a list of packages of its own, and the top has none."""
    directory, _, inner = service.entry.module.path.partition("/") if service.entry else ("", "", "")
    has_own = inner and any(f"{directory}/{name}" in top.files for name in _LISTS)
    return bool(has_own) and top.first(*_LISTS - {"uv.lock", "pyproject.toml"}, "Procfile") is None


def _candidates(tree: Tree) -> list[str]:
    """Return the directories below the top with a file that a project has, the nearest first."""
    found = {
        posixpath.dirname(path)
        for path in tree.paths
        if "/" in path and posixpath.basename(path) in _PROJECT_FILES and path.count("/") <= _MAX_DEPTH
    }
    kept = [path for path in found if not _SKIPPED.search(path)]
    return sorted(kept, key=lambda path: (path.count("/"), path))[:_MAX_CANDIDATES]
