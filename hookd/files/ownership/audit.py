"""The audit of a tree or a path against its policy, and its repair, for worker and host."""

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IFREG, S_ISDIR, S_ISLNK, S_ISREG, S_IXUSR
from typing import Final

from hookd.files.ownership.attributes import (
    ACCESS_ACL,
    FileAttributes,
    has_acl,
    read_acl,
    readers_acl,
)
from hookd.files.ownership.policies import Modes, Policy
from hookd.files.ownership.repair import AttributeMismatch, Repairer
from hookd.files.safe_open import (
    PATH_FLAGS,
    Directory,
    Unauditable,
    closing_descriptor,
    descriptor_path,
    open_path,
    unreadable,
    walk,
)

# The first bytes of a file that the kernel can run: https://man7.org/linux/man-pages/man2/execve.2.html
_EXECUTABLE_MAGIC: Final = (b"#!", b"\x7fELF")

AuditFinding = AttributeMismatch | Unauditable


def audit(path: Path, policy: Policy, *, recursive: bool = True, repairs: bool = False) -> Iterator[AuditFinding]:
    """Audit a path, and with `recursive` the tree below it. With `repairs`, repair it as far as this user may."""
    try:
        opened = open_path(path)
    except FileNotFoundError:
        yield Unauditable(str(path), "missing")
        return
    except OSError as error:
        yield unreadable(str(path), error)
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
        self._repairer = Repairer(
            repairs=repairs,
            assigns_owner=policy.owner is not None,
            acls=policy.acl is not None,
            shares=policy.is_environment,
        )
        # Every st_mode of a correct regular file, type bits included, so that a FIFO is in none of them.
        self._right: dict[Modes | None, frozenset[int]] = {}

    def tree(self, path: str, top: int) -> Iterator[AuditFinding]:
        """Audit a directory and all below it, except links."""
        programs = f"{path}/bin" if self._policy.is_environment else None
        for found in walk(path, top):
            if isinstance(found, Unauditable):
                yield found
                continue
            modes = self._policy.modes_in(found.path[len(path) + 1 :])
            yield from self._opened(found.path, found.descriptor, modes)
            among_programs = found.path == programs
            for name in self._suspects(found, modes, among_programs):
                yield from self._named(found, name, modes, among_programs)

    def one(self, path: str, descriptor: int) -> Iterator[AuditFinding]:
        """Audit a descriptor's file alone."""
        yield from self._opened(path, descriptor, self._policy.modes)

    def _opened(
        self, path: str, descriptor: int, modes: Modes | None, among_programs: bool = False
    ) -> Iterator[AuditFinding]:
        status = os.fstat(descriptor)
        if S_ISLNK(status.st_mode):
            return
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
            yield Unauditable(path, "special")
            return
        is_program = among_programs and S_ISREG(status.st_mode) and _is_executable_format(descriptor)
        mismatch = self._repairer.mismatch(path, descriptor, status, self._wanted(status, modes, is_program))
        if mismatch is not None:
            yield mismatch

    def _named(
        self, directory: Directory, name: str, modes: Modes | None, among_programs: bool
    ) -> Iterator[AuditFinding]:
        path = f"{directory.path}/{name}"
        try:
            descriptor = os.open(name, PATH_FLAGS, dir_fd=directory.descriptor)
        except FileNotFoundError:
            return  # Removed since its directory was read.
        except OSError as error:
            yield unreadable(path, error)
            return
        with closing_descriptor(descriptor):
            yield from self._opened(path, descriptor, modes, among_programs)

    def _suspects(self, directory: Directory, wanted: Modes | None, among_programs: bool) -> Iterator[str]:
        """Return the names to open. A descriptor for every file would double the time."""
        descriptor, owner, group = directory.descriptor, self._policy.owner, self._policy.group
        modes = self._right_modes(wanted)
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
        if not wanted.readers:
            return not has_acl(path)
        return read_acl(path, ACCESS_ACL, follow=False) == readers_acl(wanted.readers, mode)

    def _right_modes(self, modes: Modes | None) -> frozenset[int]:
        if modes not in self._right:
            known = range(S_IFREG, S_IFREG + 0o10000)
            self._right[modes] = frozenset(mode for mode in known if mode & 0o7777 == _mode(mode, modes))
        return self._right[modes]

    def _wanted(self, status: os.stat_result, modes: Modes | None, is_program: bool) -> FileAttributes:
        policy, mode = self._policy, _mode(status.st_mode | (S_IXUSR if is_program else 0), modes)
        owner = status.st_uid if policy.owner is None else policy.owner
        group = status.st_gid if policy.group is None else policy.group
        if policy.acl is None or not policy.acl.readers:
            return FileAttributes(owner, group, mode)
        access = readers_acl(policy.acl.readers, mode)
        return FileAttributes(owner, group, mode, access, access if S_ISDIR(status.st_mode) else None)


def _mode(found: int, modes: Modes | None) -> int:
    """Return the mode that a file or directory of a mode should have."""
    if S_ISDIR(found):
        return found & 0o7777 if modes is None else modes.directory
    if modes is None:
        return found & 0o777
    return modes.program if found & S_IXUSR else modes.file


def _is_executable_format(descriptor: int) -> bool:
    """Return True if the kernel could run the file, or if it cannot be read."""
    try:
        # O_NONBLOCK: another process may hold a lease on the file.
        reading = os.open(descriptor_path(descriptor), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    with os.fdopen(reading, "rb") as file:
        return file.read(4).startswith(_EXECUTABLE_MAGIC)
