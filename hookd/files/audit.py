"""The audit of a tree or a path against its policy, and its repair, for worker and host."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_IFREG, S_ISDIR, S_ISLNK, S_ISREG, S_IXUSR
from typing import Final

from hookd.files.attributes import (
    ACCESS_ACL,
    FileAttributes,
    has_acl,
    read_acl,
    read_attributes,
    reader_acl,
    set_attributes,
)
from hookd.files.policies import Policy
from hookd.files.safe_open import (
    PATH_FLAGS,
    Directory,
    Unauditable,
    closing_descriptor,
    descriptor_path,
    open_path,
    walk,
)
from hookd.model.text import printable

_PROTECTED: Final = Path("/proc/sys/fs/protected_hardlinks")
# The first bytes of a file that the kernel can run: https://man7.org/linux/man-pages/man2/execve.2.html
_EXECUTABLE_MAGIC: Final = (b"#!", b"\x7fELF")
_UNPROTECTED: Final = "any user may have linked it there, next: sudo sysctl fs.protected_hardlinks=1"
_HARD_LINKED: Final = "it has a second name, perhaps another user's"


@dataclass(frozen=True)
class AttributeMismatch:
    """A path whose attributes differ from its policy. `obstacle` is the reason against a repair."""

    path: str
    found: FileAttributes
    wanted: FileAttributes
    obstacle: str | None = None
    repaired: bool = False

    def __str__(self) -> str:
        was, be = ("was", "is now") if self.repaired else ("is", "should be")
        why = "" if self.obstacle is None else f" ({self.obstacle})"
        return f"{printable(self.path)} {was} {self.found}, {be} {self.wanted}{why}"


AuditFinding = AttributeMismatch | Unauditable


def audit(path: Path, policy: Policy, *, recursive: bool = True, repairs: bool = False) -> Iterator[AuditFinding]:
    """Audit a path, and with `recursive` the tree below it. With `repairs`, repair it as far as this user may."""
    try:
        opened = open_path(path)
    except FileNotFoundError:
        yield Unauditable(str(path), "missing")
        return
    except OSError as error:
        yield Unauditable(str(path), "unreadable", error.strerror)
        return
    with opened as descriptor:
        mode, auditor = os.fstat(descriptor).st_mode, _Auditor(policy, repairs=repairs)
        if S_ISLNK(mode):
            yield Unauditable(str(path), "link")
        elif S_ISDIR(mode) and recursive:
            yield from auditor.tree(str(path), descriptor)
        else:
            yield from auditor.one(str(path), descriptor)


class _Auditor:
    """The audit by one policy with the rights of this process."""

    def __init__(self, policy: Policy, *, repairs: bool) -> None:
        self._policy = policy
        self._repairs = repairs
        self._user = os.geteuid()
        self._groups = {os.getegid(), *os.getgroups()}
        # Every st_mode of a correct regular file, type bits included, so that a FIFO is in none of them.
        self._right = {mode for mode in range(S_IFREG, S_IFREG + 0o10000) if mode & 0o7777 == self._mode(mode)}

    def tree(self, path: str, top: int) -> Iterator[AuditFinding]:
        """Audit a directory and all below it, except links."""
        programs = f"{path}/bin" if self._policy.is_environment else None
        for found in walk(path, top):
            if isinstance(found, Unauditable):
                yield found
                continue
            yield from self.one(found.path, found.descriptor)
            among_programs = found.path == programs
            for name in self._suspects(found, among_programs):
                yield from self._named(found, name, among_programs)

    def one(self, path: str, descriptor: int, among_programs: bool = False) -> Iterator[AuditFinding]:
        """Audit a descriptor's file alone."""
        status = os.fstat(descriptor)
        if S_ISLNK(status.st_mode):
            return
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
            yield Unauditable(path, "special")
            return
        found = read_attributes(descriptor, status, acls=self._policy.acl is not None)
        is_program = among_programs and S_ISREG(status.st_mode) and _is_executable_format(descriptor)
        wanted = self._wanted(status, is_program)
        if found == wanted:
            return
        obstacle = _HARD_LINKED if S_ISREG(status.st_mode) and status.st_nlink > 1 else None
        if self._repairs and obstacle is None:
            obstacle = self._obstacle(status, wanted) or _repair(descriptor, found, wanted)
        yield AttributeMismatch(path, found, wanted, obstacle, repaired=self._repairs and obstacle is None)

    def _named(self, directory: Directory, name: str, among_programs: bool) -> Iterator[AuditFinding]:
        path = f"{directory.path}/{name}"
        try:
            descriptor = os.open(name, PATH_FLAGS, dir_fd=directory.descriptor)
        except FileNotFoundError:
            return  # Removed since its directory was read.
        except OSError as error:
            yield Unauditable(path, "unreadable", error.strerror)
            return
        with closing_descriptor(descriptor):
            yield from self.one(path, descriptor, among_programs)

    def _suspects(self, directory: Directory, among_programs: bool) -> Iterator[str]:
        """Return the names to open. A descriptor for every file would double the time."""
        descriptor, owner, group, modes = directory.descriptor, self._policy.owner, self._policy.group, self._right
        inside = f"{descriptor_path(descriptor)}/"
        for name in directory.names:
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                mode = found.st_mode
                known = not among_programs or mode & S_IXUSR
                right = known and mode in modes and owner in (None, found.st_uid) and group in (None, found.st_gid)
                if not S_ISLNK(mode) and not (right and self._acl_is_right(inside + name, mode)):
                    yield name
            except OSError:
                yield name  # Removed since its directory was read, or not accessible.

    def _acl_is_right(self, path: str, mode: int) -> bool:
        wanted = self._policy.acl
        if wanted is None:
            return True
        if wanted.reader is None:
            return not has_acl(path)
        return read_acl(path, ACCESS_ACL, follow=False) == reader_acl(wanted.reader, mode)

    def _mode(self, found: int) -> int:
        modes = self._policy.modes
        if S_ISDIR(found):
            return found & 0o7777 if modes is None else modes.directory
        if modes is None:
            return found & 0o777
        return modes.program if found & S_IXUSR else modes.file

    def _wanted(self, status: os.stat_result, is_program: bool) -> FileAttributes:
        policy, mode = self._policy, self._mode(status.st_mode | (S_IXUSR if is_program else 0))
        owner = status.st_uid if policy.owner is None else policy.owner
        group = status.st_gid if policy.group is None else policy.group
        if policy.acl is None or policy.acl.reader is None:
            return FileAttributes(owner, group, mode)
        access = reader_acl(policy.acl.reader, mode)
        return FileAttributes(owner, group, mode, access, access if S_ISDIR(status.st_mode) else None)

    def _obstacle(self, status: os.stat_result, wanted: FileAttributes) -> str | None:
        """Return the reason why this process must not repair a file."""
        if self._user == 0 and self._policy.owner is not None:
            is_given_away = S_ISREG(status.st_mode) and wanted.owner != status.st_uid
            return _UNPROTECTED if is_given_away and not _links_are_protected() else None
        if status.st_uid != self._user:
            return "it belongs to another user"
        if wanted.owner != self._user:
            return "only root can give it away"
        if self._user and wanted.group != status.st_gid and wanted.group not in self._groups:
            return "this user is not in that group"
        return None


def _repair(descriptor: int, found: FileAttributes, wanted: FileAttributes) -> str | None:
    """Set the wanted attributes. Return the reason if that fails."""
    try:
        set_attributes(descriptor, found, wanted)
    except OSError as error:
        return error.strerror
    return None


def _is_executable_format(descriptor: int) -> bool:
    """Return True if the kernel could run the file, or if it cannot be read."""
    try:
        # O_NONBLOCK: another process may hold a lease on the file.
        reading = os.open(descriptor_path(descriptor), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    with os.fdopen(reading, "rb") as file:
        return file.read(4).startswith(_EXECUTABLE_MAGIC)


def _links_are_protected() -> bool:
    """Return True if users can hard-link only their own files.

    Otherwise a file here may be another user's, whose first name is gone.
    """
    try:
        return _PROTECTED.read_text().strip() != "0"
    except OSError:
        return False
