"""The files below one directory of a commit, and their texts, TOML, INI and JSON."""

import configparser
import json
import posixpath
import tomllib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from units.finders.repository.tree import Tree


class Files:
    """The files below one directory of a repository, named relative to it."""

    def __init__(self, tree: Tree, directory: str | None = None) -> None:
        self.tree = tree
        self.directory = directory
        self._prefix = f"{directory}/" if directory else ""
        start = len(self._prefix)
        self.paths: tuple[str, ...] = tuple(path[start:] for path in tree.paths if path.startswith(self._prefix))

    @cached_property
    def files(self) -> frozenset[str]:
        """All paths as a set."""
        return frozenset(self.paths)

    @cached_property
    def directories(self) -> frozenset[str]:
        """All directories with a file in them or below."""
        return frozenset(parent for path in self.paths for parent in parents(path))

    def read(self, path: str) -> str | None:
        """Return a file's text, or None."""
        return self.tree.read(self._prefix + path)

    def size(self, path: str) -> int:
        """Return the size of a file in bytes, or 0 if it is missing."""
        return self.tree.size(self._prefix + path)

    def lines(self, path: str) -> list[str]:
        """Return a file's lines, or [] for a file that cannot be read."""
        return (self.read(path) or "").splitlines()

    def toml(self, path: str) -> dict[str, Any]:
        """Return a TOML file's table, or {} if it cannot be read."""
        try:
            return tomllib.loads(self.read(path) or "")
        except (ValueError, RecursionError):  # A number of 5,000 digits is a ValueError.
            return {}

    def ini(self, path: str) -> configparser.ConfigParser:
        """Return an INI file's sections, or none if it cannot be read."""
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        try:
            parser.read_string(self.read(path) or "")
        except configparser.Error:
            return configparser.ConfigParser()
        return parser

    def json(self, path: str) -> Any:
        """Return a JSON file's value, or {} if it cannot be read."""
        try:
            return json.loads(self.read(path) or "{}")
        except (ValueError, RecursionError):
            return {}

    def first(self, *paths: str) -> str | None:
        """Return the first of these files that is there."""
        return next((path for path in paths if path in self.files), None)

    def place(self, path: str, line: int | None = None) -> str:
        """Return a file's path in the repository for a person, with its line."""
        return self._prefix + path + (f", line {line}" if line else "")

    def has_files(self, directory: str) -> bool:
        """Return True if the commit has files in a directory beside those that only keep it in git."""
        return any(
            path.startswith(f"{directory}/") and posixpath.basename(path) not in (".gitkeep", ".gitignore", ".keep")
            for path in self.paths
        )


def parents(path: str) -> Iterator[str]:
    """Return the directories above a file, the nearest first."""
    while path := posixpath.dirname(path):
        yield path
