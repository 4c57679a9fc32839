"""Files that git-lfs stores: their pointers in a release are replaced by the files, or the deployment is refused."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.hint import Hint, HintKind
from worker.context import Task
from worker.errors import CommandFailed, DeployError
from worker.process.run import SYSTEM_PATH
from worker.release.checkout import Checkout, Part, check_address
from worker.release.disk_space import check_sizes_fit
from worker.release.git_errors import fetch_error

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER: Final = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n"
    rb"(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n"
)
_MAX_POINTER_BYTES: Final = 1024
# For the logs of git-lfs.
_SPARE_BYTES: Final = 1024 * 1024
_SKIP: Final = Hint(HintKind.SKIP_LARGE_FILES)
_PROGRAM: Final = "git-lfs"
# Where git-lfs keeps files beside a mirror.
_STORE: Final = Path("lfs/objects")


@dataclass(frozen=True)
class Pointer:
    """A pointer in a release: its path and its id in git, and the id (SHA-256) and the size in bytes of the file."""

    path: Path
    blob: str
    object_id: str
    size: int


def replace_pointers(task: Task, checkout: Checkout, release: Path) -> None:
    """Replace the pointers of a written release. Raises DeployError."""
    found = {part.directory: list(_pointers(part, release)) for part in checkout.parts}
    pointers = [pointer for each in found.values() for pointer in each]
    if not pointers:
        return
    first = pointers[0].path.relative_to(release)
    number = f"{len(pointers)} files" if len(pointers) > 1 else "1 file"
    if not task.app.checkout.lfs:
        task.recorder.line(f"pointers of git-lfs stay (checkout.lfs): {number}, first {first}")
        return
    if shutil.which(_PROGRAM, path=os.environ.get("PATH", SYSTEM_PATH)) is None:
        raise DeployError(f"git-lfs stores {first} and is not installed", hint=Hint(HintKind.INSTALL_GIT_LFS))
    check_sizes_fit(task, fetched=_sizes(pointers), written=[pointer.size for pointer in pointers])
    task.recorder.line(f"{number} of git-lfs, first {first}")
    for part in checkout.parts:
        if found[part.directory]:
            _replace(task, part, release, found[part.directory])


def _sizes(pointers: list[Pointer]) -> list[int]:
    """Return the sizes of the files to fetch. Several pointers may name one."""
    return [pointer.size for pointer in _by_object(pointers).values()]


def _by_object(pointers: list[Pointer]) -> dict[str, Pointer]:
    return {pointer.object_id: pointer for pointer in pointers}


def _pointers(part: Part, release: Path) -> Iterator[Pointer]:
    """Find the pointers of a part. A file that git-lfs should store may be in git itself."""
    entries = {entry.path: entry for entry in part.entries}
    if not any(path.rpartition("/")[2] == ".gitattributes" for path in entries):
        return
    directory = release / part.directory
    for path in part.repository.large_files(part.commit, directory):
        entry = entries.get(path)
        if entry is None or entry.is_link or entry.is_submodule or not 0 < entry.size <= _MAX_POINTER_BYTES:
            continue
        if match := _POINTER.match((directory / path).read_bytes()):
            yield Pointer(directory / path, entry.object_id, match[1].decode(), int(match[2]))


def _replace(task: Task, part: Part, release: Path, pointers: list[Pointer]) -> None:
    """Fetch the files of a part and write them. Later, only those stay beside the mirror. Raises DeployError."""
    try:
        _fetch(task, part, _by_object(pointers))
        for pointer in pointers:
            name = pointer.object_id
            _write(part.repository.directory / _STORE / name[:2] / name[2:4] / name, pointer, release)
    finally:
        needed = {pointer.object_id for pointer in pointers}
        for stored in (part.repository.directory / _STORE).glob("*/*/*"):
            if stored.name not in needed:
                stored.unlink(missing_ok=True)


def _fetch(task: Task, part: Part, pointers: Mapping[str, Pointer]) -> None:
    """Fetch the large files of a part from the place that it names, or from its own repository. Raises DeployError.

    git-lfs fetches each pointer of a commit, so it gets a tree of the counted ones alone. A store may send more than
    the pointers say: no file grows above the largest of them.
    """
    max_bytes = max(pointer.size for pointer in pointers.values()) + _SPARE_BYTES
    source = part.repository.lfs_url(part.commit)
    try:
        address = check_address(part, source) if source else None
        tree = part.repository.write_tree({name: pointer.blob for name, pointer in pointers.items()})
        part.repository.fetch_large_files(part.url, tree, address, max_bytes=max_bytes)
    except ValueError:
        raise DeployError(f".lfsconfig has an address that is refused: {source[:200]!r}", hint=_SKIP) from None
    except CommandFailed as error:
        what = f"files of git-lfs in {source or part.url}"
        raise fetch_error(task.app, part.repository.directory, what, error, access=_SKIP) from None


def _write(stored: Path, pointer: Pointer, release: Path) -> None:
    """Copy a stored file over its pointer. Raises DeployError and removes a damaged one, so that it comes again."""
    name = pointer.path.relative_to(release)
    try:
        with stored.open("rb") as source:
            found = hashlib.file_digest(source, "sha256").hexdigest()
    except FileNotFoundError:
        found = ""
    if found != pointer.object_id:
        with suppress(FileNotFoundError):
            stored.unlink()
        raise DeployError(f"git-lfs did not bring {name}", hint=_SKIP)
    shutil.copyfile(stored, pointer.path, follow_symlinks=False)
