"""The build of a package.json by npm, pnpm, yarn or bun."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from hookd.model.nested import table
from units.finders.code.project import Project
from units.finders.repository.files import Files, parents

Argv = list[str]
_TOOLS: Final = {
    "package-lock.json": "npm", "npm-shrinkwrap.json": "npm", "pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn",
    "bun.lock": "bun", "bun.lockb": "bun",
}  # fmt: skip
_IN_DIRECTORY: Final = {"npm": "--prefix", "pnpm": "--dir", "yarn": "--cwd"}
_NOT_SERVED: Final = re.compile(r"(?i)(?:^|/)(?:docs?|website|examples?|e2e|tests?|storybook|\.\w+|packages)(?:/|$)")


def npm_builds(project: Project) -> Iterator[tuple[list[Argv], str]]:
    """Return the commands of the package.json that has a `build`: at the top, else in the only directory."""
    top, app = Files(project.tree), project.directory or "."
    found = [one for one in _directories(project) if isinstance(_scripts(top, one).get("build"), str)]
    for directory in [one for one in found if one == app] or (found if len(found) == 1 else []):
        lock = _lock(top, directory)
        tool = _TOOLS[posixpath.basename(lock)] if lock else "npm"
        installed = posixpath.dirname(lock) or "." if lock else directory
        install = _argv(tool, posixpath.relpath(installed, app), *_install_words(tool, lock))
        build = _argv(tool, posixpath.relpath(directory, app), "run", "build")
        remove = ["rm", "-rf", posixpath.relpath(posixpath.join(installed, "node_modules"), app)]
        yield [install, build, remove], posixpath.normpath(posixpath.join(directory, "package.json"))


def _scripts(top: Files, directory: str) -> dict[str, object]:
    return table(top.json(posixpath.normpath(posixpath.join(directory, "package.json"))), "scripts")


def _directories(project: Project) -> list[str]:
    """Return the directories with a package.json: the app's, those in it, and those beside it in a monorepo."""
    app = project.directory or ""
    roots = {app, posixpath.dirname(app)}
    found = (posixpath.dirname(path) for path in project.tree.paths if posixpath.basename(path) == "package.json")
    near = [one for one in found if one == app or posixpath.dirname(one) in roots]
    return [one or "." for one in near if not _NOT_SERVED.search(one)]


def _lock(top: Files, directory: str) -> str | None:
    """Return the nearest lock file."""
    above = () if directory == "." else (directory, *parents(directory))
    return top.first(*(posixpath.join(one, name) for one in (*above, "") for name in _TOOLS))


def _install_words(tool: str, lock: str | None) -> tuple[str, ...]:
    if lock is None:
        return ("install",)
    return ("ci",) if tool == "npm" else ("install", "--frozen-lockfile")


def _argv(tool: str, directory: str, *words: str) -> Argv:
    if directory == ".":
        return [tool, *words]
    if tool == "bun":
        where = f"--cwd={directory}"
        return [tool, where, *words] if words[0] == "run" else [tool, *words, where]
    return [tool, _IN_DIRECTORY[tool], directory, *words]
