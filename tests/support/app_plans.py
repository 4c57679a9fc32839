"""Writes the plans of docs/apps.md from tests/data/apps: `python -m tests.support.app_plans` mends them."""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.support.processes import PROJECT
from units.apps.repository.inspection import Head
from units.cli.plan.show import show_plan
from units.finders.plan import find_plan
from units.finders.repository.tree import Tree

PAGE: Final = PROJECT / "docs" / "apps.md"
_APPS: Final = PROJECT / "tests" / "data" / "apps"
KINDS: Final = sorted(path.name for path in _APPS.iterdir())
# Debian 13's own. The page is the same on each machine.
_INTERPRETERS: Final = {"3.13": "/usr/bin/python3.13"}
_BLOCK: Final = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)


def files_of(kind: str) -> Mapping[str, str]:
    """Return the files of a kind's project."""
    paths = sorted(path for path in (_APPS / kind).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(_APPS / kind)): path.read_text() for path in paths}


def plan_lines(kind: str) -> list[str]:
    """Return the plan that hookd prints for a kind, without the line that names the commit."""
    plan = find_plan(Tree.of(files_of(kind)), None, _INTERPRETERS)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        show_plan("", Head("", "", ""), plan)
    return printed.getvalue().strip().splitlines()[1:]


def written(page: str) -> dict[str, str]:
    """Return the blocks of the page by their kinds."""
    return dict(_BLOCK.findall(page))


def block(kind: str) -> str:
    """Render the files of a kind and its plan."""
    return "\n".join(["```", *_listing(kind), "```", "", "```", *plan_lines(kind), "```", ""])


def _listing(kind: str) -> Iterator[str]:
    """List the files: a line for each directory at the top, then one for the files beside them."""
    directories: dict[str, list[str]] = {}
    for path in files_of(kind):
        top = path.partition("/")[0] if "/" in path else ""
        directories.setdefault(top, []).append(path.removeprefix(f"{top}/"))
    beside = directories.pop("", [])
    width = max(map(len, directories), default=0) + 1
    for name, paths in directories.items():
        yield f"{name + '/':<{width}}  {'  '.join(paths)}"
    yield "  ".join(beside)


def updated(page: str) -> str:
    """Return the page with today's blocks."""
    return _BLOCK.sub(lambda match: f"<!-- {match[1]} -->\n{block(match[1])}<!-- end -->", page)


if __name__ == "__main__":
    Path(PAGE).write_text(updated(PAGE.read_text()))
