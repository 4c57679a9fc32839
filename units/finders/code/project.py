"""An app's directory in a repository: its files, modules and packages. All finders read through it."""

import ast
import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from units.finders.code.requirements import read_packages
from units.finders.code.syntax import Module, parse
from units.finders.repository.files import Files, parents
from units.finders.repository.tree import Tree

# Bytes of Python that are parsed for one plan. 4 MB take about a second.
_MAX_PARSED: Final = 1_000_000
_MAX_MODULES: Final = 200
_MAX_STEPS: Final = 20_000
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MANAGE: Final = re.compile(r"(?:[\w-]+/){1,2}manage\.py")
# The directory that a start command changes to.
_CHANGE: Final = re.compile(r"(?:\bcd\s+|--chdir[ =]|--app-dir[ =])([\w./-]+)")
# Directories whose code does not serve.
_BESIDE: Final = frozenset(
    "tests test testing docs doc example examples sample samples scripts script migrations alembic node_modules venv "
    "env bench benchmarks benchmark tools deploy deployment build dist ci ansible terraform hooks notebooks "
    "site-packages".split()
)


class Project(Files):
    """The code below one directory of a repository."""

    def __init__(self, tree: Tree, directory: str | None = None) -> None:
        super().__init__(tree, directory)
        self._modules: dict[str, Module | None] = {}
        self._left = _MAX_PARSED
        self._steps = _MAX_STEPS
        self.made: dict[tuple[str, int], str | None] = {}

    def spend(self) -> bool:
        """Count a step of the search for apps. Return False after too many, which only hostile code needs."""
        self._steps -= 1
        return self._steps >= 0

    @cached_property
    def packages(self) -> dict[str, str]:
        """The packages that the project asks for: the normalized name, and the requirement as written."""
        return read_packages(self)

    def place_of(self, module: Module, node: ast.AST) -> str:
        """Return the place of a piece of code for a person."""
        return self.place(module.path, getattr(node, "lineno", None))

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The directories in which imports are looked for: the top, `src`, Django's, and those of a `cd`."""
        moved = _CHANGE.findall(f"{self.read('Procfile') or ''}\n{self.read('Dockerfile') or ''}")
        django = (posixpath.dirname(path) for path in self.paths if _MANAGE.fullmatch(path))
        inner = (posixpath.normpath(path) for path in ("src", *django, *moved))
        return ("", *dict.fromkeys(f"{path}/" for path in inner if path in self.directories))

    def root_of(self, path: str) -> str:
        """Return the directory that the import of a file begins in, or an empty text for the top."""
        at_top = all(f"{parent}/__init__.py" in self.files for parent in parents(path))
        roots = (root for root in self.roots if root and path.startswith(root))
        return "" if at_top else next((root.rstrip("/") for root in roots), "")

    def path_of(self, name: str) -> str | None:
        """Return the file of a module by its dotted name, or None if it is not the project's own."""
        inner = name.replace(".", "/")
        return next(
            (
                path
                for root in self.roots
                for path in (f"{root}{inner}.py", f"{root}{inner}/__init__.py")
                if path in self.files
            ),
            None,
        )

    def name_of(self, path: str) -> str:
        """Return the dotted name of a file of Python."""
        inner = path.removesuffix(".py").removesuffix("/__init__")
        root = self.root_of(path)
        return inner.removeprefix(f"{root}/" if root else "").replace("/", ".")

    def module(self, name: str) -> Module | None:
        """Return the project's module of a dotted name, parsed, or None."""
        path = self.path_of(name)
        return self.module_at(path) if path else None

    def module_at(self, path: str) -> Module | None:
        """Return a file of Python, parsed, or None if it cannot be read or the limit is reached."""
        if path not in self._modules:
            self._modules[path] = self._parsed(path)
        return self._modules[path]

    def _parsed(self, path: str) -> Module | None:
        size = self.size(path)
        if size > self._left or len(self._modules) >= 2 * _MAX_MODULES:
            return None
        text = self.read(path)
        if text is None:
            return None
        self._left -= size
        return parse(self.name_of(path), path, text)

    def top_modules(self) -> Iterator[str]:
        """Return the files of Python at the top, and those of its packages' first level."""
        for root in self.roots:
            for path in self.paths:
                inner = path.removeprefix(root) if path.startswith(root) else ""
                if inner.endswith(".py") and is_serving(inner) and inner.count("/") < 2:
                    yield path

    def reachable(self, start: tuple[str, ...]) -> tuple[Module, ...]:
        """Return the project's modules that these import, directly or not, the nearest first."""
        found: dict[str, Module] = {}
        waiting = [path for name in start for path in self._import_chain(name)]
        for path in waiting:
            if path in found or len(found) >= _MAX_MODULES or not (module := self.module_at(path)):
                continue
            found[path] = module
            named = (*module.imported_modules, *module.named_modules)
            waiting += [inner for name in named for inner in self._import_chain(name)]
        return tuple(found.values())

    def _import_chain(self, name: str) -> Iterator[str]:
        """Return the files that the import of a module runs: its packages and itself."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            if path := self.path_of(".".join(parts[:length])):
                yield path


def is_serving(path: str) -> bool:
    """Return True if a file may belong to the code that serves, by its path."""
    *parents, name = path.split("/")
    if name.startswith(("test_", "conftest", "setup.py", "noxfile", "fabfile")) or name in ("tests.py", "tasks.py"):
        return False
    return all(_IDENTIFIER.fullmatch(parent) and parent.lower() not in _BESIDE for parent in parents)
