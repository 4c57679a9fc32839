"""The files of a commit and of its submodules, which are fetched with the app's own key.

Nothing of `.gitmodules` is trusted: a submodule lies where the commit's tree has it, and its address passes the same
check as the app's own. A name from there is used nowhere.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from hookd.model.hint import Hint, HintKind
from hookd.model.tables.fields import Repository
from worker.errors import CommandFailed, CommitRefused, DeployError, TimedOut
from worker.process.run import Line, remove_tree
from worker.release.git_errors import fetch_error
from worker.release.git_mirror import BareRepository, GitMirror
from worker.release.tree import TreeEntry, reject_deep_paths

_SKIP: Final = Hint(HintKind.SKIP_SUBMODULES)
_MAX_LEVELS: Final = 5
_MAX_SUBMODULES: Final = 100
_SETTING: Final = re.compile(r"submodule\.(.*)\.(path|url|update)", re.DOTALL)
_MAX_ADDRESS: Final = 1000
_ADDRESS: Final[TypeAdapter[str]] = TypeAdapter(Repository)


@dataclass(frozen=True)
class Part:
    """A commit whose files lie in a directory of the release, which is "" for the app's own commit."""

    repository: BareRepository
    url: str
    commit: str
    directory: str
    entries: tuple[TreeEntry, ...]


@dataclass(frozen=True)
class Checkout:
    """A commit of the app with its submodules, the outer ones first."""

    parts: tuple[Part, ...]

    @property
    def entries(self) -> list[TreeEntry]:
        """The paths of all parts, as they will lie in the release."""
        return [entry.below(part.directory) for part in self.parts for entry in part.entries]

    def write(self, release: Path) -> None:
        """Write all files below an empty directory."""
        for part in self.parts:
            part.repository.write(part.commit, release / part.directory)


def read_checkout(mirror: GitMirror, commit: str, each_line: Line) -> Checkout:
    """List the files of a commit, and fetch its submodules. Raises DeployError."""
    own = Part(mirror, mirror.app.repository, commit, "", tuple(mirror.list_tree(commit)))
    finder = _Submodules(mirror, each_line)
    parts = [own]
    try:
        parts.extend(finder.below(own, 1))
    finally:
        finder.remove_unused(parts)
    checkout = Checkout(tuple(parts))
    reject_deep_paths(checkout.entries)
    return checkout


class _Submodules:
    """The submodules of one app, each mirrored below the app's own mirror."""

    def __init__(self, mirror: GitMirror, each_line: Line) -> None:
        self._mirror = mirror
        self._app = mirror.app
        self._line = each_line
        self._place = mirror.directory / "hookd-submodules"
        self._number = 0

    def below(self, outer: Part, level: int) -> Iterator[Part]:
        """Fetch the submodules of a commit, and those in them. Raises DeployError."""
        found = [entry for entry in outer.entries if entry.is_submodule]
        addresses = _addresses(outer.repository.submodule_settings(outer.commit)) if found else {}
        for entry in found:
            path = entry.below(outer.directory).path
            if not self._app.checkout.submodules:
                self._line(f"the submodule {path} stays empty (checkout.submodules)")
            elif entry.path not in addresses:
                self._line(f"warning: the submodule {path} stays empty, .gitmodules has no address to update it from")
            else:
                self._count(level)
                inner = self._fetched(path, self._address(outer, addresses[entry.path], path), entry.object_id)
                yield inner
                yield from self.below(inner, level + 1)

    def _count(self, level: int) -> None:
        """Raise CommitRefused for too many submodules."""
        self._number += 1
        if level > _MAX_LEVELS:
            raise CommitRefused(f"the commit has submodules below {_MAX_LEVELS} others", hint=_SKIP)
        if self._number > _MAX_SUBMODULES:
            raise CommitRefused(f"the commit has more than {_MAX_SUBMODULES} submodules", hint=_SKIP)

    def _address(self, outer: Part, written: str, path: str) -> str:
        """Return the address of a submodule. Raises DeployError."""
        try:
            return check_address(outer, relative_address(outer.url, written))
        except ValueError:
            cause = f"the submodule {path} has an address that is refused: {written[:200]!r}"
            raise DeployError(cause, hint=_SKIP) from None

    def _fetched(self, path: str, url: str, commit: str) -> Part:
        place = self._place / f"{sha256(url.encode()).hexdigest()[:24]}.git"
        place.parent.mkdir(mode=0o700, exist_ok=True)
        repository = BareRepository(replace(self._mirror.git, mirror=place), self._line)
        repository.remove_leftovers()
        what = f"the submodule {path} ({url})"
        try:
            entries = _read(repository, url, commit)
        except CommandFailed as error:
            raise fetch_error(self._app, place, what, error, access=_SKIP) from None
        if entries is None:
            raise DeployError(f"{what} lacks the commit {commit[:12]}, push it there", hint=_SKIP)
        self._line(f"the submodule {path} is {commit}")
        return Part(repository, url, commit, path, tuple(entries))

    def remove_unused(self, parts: list[Part]) -> None:
        """Remove the mirrors of other submodules."""
        used = {part.repository.directory for part in parts}
        for place in self._place.glob("*") if self._place.is_dir() else ():
            if place not in used:
                with suppress(CommandFailed):
                    remove_tree(place)


def _read(repository: BareRepository, url: str, commit: str) -> list[TreeEntry] | None:
    """Fetch a commit and list its files, or return None if it is not there. A damaged mirror is made anew."""
    existed = repository.directory.exists()
    try:
        return repository.list_tree(commit) if repository.fetch_commit(url, commit) else None
    except TimedOut:
        raise
    except CommandFailed:
        if not existed:
            raise
    repository.remove()
    return repository.list_tree(commit) if repository.fetch_commit(url, commit) else None


def _addresses(settings: list[tuple[str, str]]) -> dict[str, str]:
    """Return the address of each path in `.gitmodules`, except of those that git itself does not update."""
    modules: dict[str, dict[str, str]] = {}
    for name, value in settings:
        if match := _SETTING.fullmatch(name):
            modules.setdefault(match[1], {})[match[2]] = value
    return {
        module["path"].rstrip("/"): module["url"]
        for module in modules.values()
        if {"path", "url"} <= module.keys() and module.get("update") != "none"
    }


def check_address(part: Part, url: str) -> str:
    """Return an address that a part of a release names. Raises ValueError if this host may not use it.

    Transports are those that git may use here. Local repositories may name local ones alone.
    """
    _ADDRESS.validate_python(url)
    scheme, _, _ = url.partition("://")
    protocol = scheme if "://" in url else "ssh"
    is_stranger = protocol == "file" and not part.url.startswith("file:")
    if is_stranger or protocol not in part.repository.git.env["GIT_ALLOW_PROTOCOL"].split(":"):
        raise ValueError(url)
    return url


def relative_address(base: str, written: str) -> str:
    """Return an address as `git submodule` resolves it, which may be relative to that of the repository around it.

    Raises ValueError for one that is too long, because each step of it takes the time of its length.
    """
    if len(written) > _MAX_ADDRESS:
        raise ValueError(written[:_MAX_ADDRESS])
    if not written.startswith(("./", "../")):
        return written
    base, separator = base.rstrip("/"), "/"
    while written.startswith(("./", "../")):
        if written.startswith("../"):
            cut = base.rfind("/") if "/" in base else base.rfind(":")
            separator = "/" if "/" in base else ":"
            base = base[: max(cut, 0)]
        written = written[written.index("/") + 1 :]
    return f"{base}{separator}{written}".rstrip("/")
