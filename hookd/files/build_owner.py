"""Root's part in a build: give a new release to the user of builds, and take it over from this user afterwards.

It changes owners only, through descriptors, and only of files that belong to one of the two users. Without pathlib, re
and typing the program of a build starts in half of the time.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from stat import S_IMODE, S_IRWXU, S_ISDIR, S_ISGID, S_ISLNK, S_ISREG, S_ISUID

from hookd.files.safe_open import PATH_FLAGS, Unauditable, closing_descriptor, descriptor_path, open_path, walk
from hookd.model.text import printable

# Where `next` and a release's `venv` may lead.
_RELEASES = "releases"
_VENVS = "../../venvs"
# Written into an environment once it is complete. No later build may change it.
COMPLETE_MARK = ".hookd-complete"


class Transfer:
    """A change of the owner from one user to another. `refused` are the paths that stay, each with the reason."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.refused: list[str] = []
        self._names: Counter[tuple[int, int]] = Counter()
        self._linked: dict[tuple[int, int], str] = {}

    def give_tree(self, path: str, top: int) -> None:
        """Change a tree, its top first. After an interruption its owner tells which trees are taken back."""
        self._one(path, top)
        self.tree(path, top)

    def give_directories(self, path: str, top: int) -> None:
        """Change the directories of a tree, so that its files can be replaced. Environments share these."""
        for found in walk(path, top):
            if isinstance(found, Unauditable):
                self.refused.append(str(found))
            else:
                self._one(found.path, found.descriptor)

    def tree(self, path: str, top: int) -> None:
        """Change a tree. Its top comes last, so that an interrupted change is seen there."""
        for found in walk(path, top):
            if isinstance(found, Unauditable):
                self.refused.append(str(found))
                continue
            if found.path != path:
                self._one(found.path, found.descriptor)
            for name in found.names:
                with suppress(FileNotFoundError), closing_descriptor(_opened(name, found.descriptor)) as descriptor:
                    self._one(f"{found.path}/{name}", descriptor)
        self._one(path, top)

    def finish(self) -> None:
        """Refuse the files with a name outside of the trees."""
        self.refused += [
            f"{printable(path)} has a second name outside of the release" for path in self._linked.values()
        ]

    def _one(self, path: str, descriptor: int) -> None:
        found = os.fstat(descriptor)
        reason = self._obstacle(found)
        if reason is not None:
            self.refused.append(f"{printable(path)} {reason}")
        elif found.st_uid == self.source and self._all_names_seen(path, found):
            self._change(path, descriptor, found)

    def _obstacle(self, found: os.stat_result) -> str | None:
        """Return the reason why a file keeps its owner."""
        if not (S_ISREG(found.st_mode) or S_ISDIR(found.st_mode) or S_ISLNK(found.st_mode)):
            return "is neither a file, a directory nor a link"
        return None if found.st_uid in (self.source, self.target) else "belongs to another user"

    def _all_names_seen(self, path: str, found: os.stat_result) -> bool:
        """Return True for a file whose names all lie in the trees, once the last of them is seen."""
        if not S_ISREG(found.st_mode) or found.st_nlink == 1:
            return True
        inode = (found.st_dev, found.st_ino)
        self._names[inode] += 1
        self._linked[inode] = path
        if self._names[inode] < found.st_nlink:
            return False
        del self._linked[inode]
        return True

    def _change(self, path: str, descriptor: int, found: os.stat_result) -> None:
        place = descriptor_path(descriptor)
        if S_ISDIR(found.st_mode) and found.st_mode & S_IRWXU != S_IRWXU:
            os.chmod(place, S_IMODE(found.st_mode) | S_IRWXU)  # Its owner could not remove what lies in it.
        if S_ISREG(found.st_mode) and found.st_mode & (S_ISUID | S_ISGID):
            os.chmod(place, S_IMODE(found.st_mode) & ~(S_ISUID | S_ISGID))
            self.refused.append(f"{printable(path)} is a program that runs as its owner or group")
        os.chown(place, self.target, -1)


def give_release(root: str, owner: int, builder: int) -> list[str]:
    """Give the release behind `next` to the user of builds, with its environment if that is new.

    Return what is refused, each with the reason. Without `next` there is nothing to build.
    """
    return _changed(Transfer(owner, builder), root, _give)


def take_releases(root: str, builder: int, owner: int) -> list[str]:
    """Take over all releases and environments that belong to the user of builds, and return what is refused."""
    return _changed(Transfer(builder, owner), root, _take)


def _changed(transfer: Transfer, root: str, change: Callable[[str, Transfer], None]) -> list[str]:
    try:
        change(root, transfer)
    except OSError as error:
        transfer.refused.append(f"{root}: {error.strerror or error}")
    transfer.finish()
    return transfer.refused


def _give(root: str, transfer: Transfer) -> None:
    with ExitStack() as opened:
        top = opened.enter_context(open_path(root))
        try:
            link = os.readlink("next", dir_fd=top)
        except FileNotFoundError:
            return
        release = _target(_RELEASES, link)
        release_top = opened.enter_context(_below(top, "releases", release))
        transfer.give_tree(f"{root}/releases/{release}", release_top)
        with suppress(FileNotFoundError):
            venv = _target(_VENVS, os.readlink("venv", dir_fd=release_top))
            venv_top = opened.enter_context(_below(top, "venvs", venv))
            if not os.access(f"{descriptor_path(venv_top)}/{COMPLETE_MARK}", os.F_OK):
                transfer.give_directories(f"{root}/venvs/{venv}", venv_top)


def _take(root: str, transfer: Transfer) -> None:
    with open_path(root) as top:
        for place in ("releases", "venvs"):
            for name, descriptor in _directories(top, place):
                if os.fstat(descriptor).st_uid == transfer.source:
                    transfer.tree(f"{root}/{place}/{name}", descriptor)


def _opened(name: str, directory: int) -> int:
    return os.open(name, PATH_FLAGS, dir_fd=directory)


def _below(top: int, place: str, name: str) -> AbstractContextManager[int]:
    """Open a directory two levels below another one, without following a link."""
    with closing_descriptor(os.open(place, PATH_FLAGS | os.O_DIRECTORY, dir_fd=top)) as parent:
        descriptor = os.open(name, PATH_FLAGS | os.O_DIRECTORY, dir_fd=parent)
    return closing_descriptor(descriptor)


def _directories(top: int, place: str) -> Iterator[tuple[str, int]]:
    with closing_descriptor(os.open(place, PATH_FLAGS | os.O_DIRECTORY, dir_fd=top)) as parent:
        with os.scandir(descriptor_path(parent)) as found:
            names = sorted(entry.name for entry in found)
        for name in names:
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                closing_descriptor(os.open(name, PATH_FLAGS | os.O_DIRECTORY, dir_fd=parent)) as descriptor,
            ):
                yield name, descriptor


def _target(directory: str, link: str) -> str:
    """Return the name of a link's target, which must lie in a directory."""
    found, _, name = link.rpartition("/")
    if found != directory or name in ("", ".", ".."):
        raise OSError(f"a link leads to {printable(link)}")
    return name
