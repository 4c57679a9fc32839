"""The paths of a commit, as `git ls-tree -l` lists them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from worker.errors import CommitRefused

_MAX_DEPTH: Final = 100


@dataclass(frozen=True)
class TreeEntry:
    """One path of a commit. `size` is in bytes, and `object_id` that of the file, or of a submodule's commit."""

    mode: str
    path: str
    size: int = 0
    object_id: str = ""

    @property
    def is_link(self) -> bool:
        """Return True for a symbolic link."""
        return self.mode == "120000"

    @property
    def is_submodule(self) -> bool:
        """Return True for a submodule."""
        return self.mode == "160000"

    def below(self, directory: str) -> "TreeEntry":
        """Return the entry as it lies in the directory of a submodule, which is "" for the commit itself."""
        return replace(self, path=f"{directory}/{self.path}") if directory else self


def parse_tree(listing: bytes) -> list[TreeEntry]:
    """Read the output of `git ls-tree -r -l -z`. Raises CommitRefused for a path that is not UTF-8."""
    try:
        rows = listing.decode("utf-8").split("\0")
    except UnicodeDecodeError:
        raise CommitRefused("the commit holds a file name that is not UTF-8") from None
    return [_parse_entry(row) for row in rows if row]


def _parse_entry(row: str) -> TreeEntry:
    """Read a row: mode, type, id and size, then the path. A submodule has no size."""
    about, path = row.split("\t", 1)
    mode, _, object_id, size = about.split()
    return TreeEntry(mode=mode, path=path, size=int(size) if size.isdigit() else 0, object_id=object_id)


def reject_deep_paths(entries: Iterable[TreeEntry]) -> None:
    """Raise CommitRefused for a path with too many levels."""
    too_deep = next((entry.path for entry in entries if entry.path.count("/") > _MAX_DEPTH), None)
    if too_deep is not None:
        raise CommitRefused(f"the commit holds a path of more than {_MAX_DEPTH} levels: {too_deep[:80]}…")
