"""The repair of one path: its wanted attributes are set as far as this user may, and read again."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Final

from hookd.files.ownership.attributes import FileAttributes, read_attributes, set_attributes
from hookd.model.text import printable

_PROTECTED: Final = Path("/proc/sys/fs/protected_hardlinks")
_SYSCTL_FILE: Final = "/etc/sysctl.d/60-hookd.conf"
_HARD_LINKED: Final = "it has a second name, perhaps another user's: replace it with a copy"
_NOT_KEPT: Final = "its file system keeps other values: move it to another one"


@dataclass(frozen=True)
class AttributeMismatch:
    """A path whose attributes differ from the wanted ones.

    `obstacle` is the reason against a repair. `needs_root` means that only root's repair is free of it.
    """

    path: str
    found: FileAttributes
    wanted: FileAttributes
    obstacle: str | None = None
    repaired: bool = False
    needs_root: bool = False

    def __str__(self) -> str:
        was, be = ("was", "is now") if self.repaired else ("is", "should be")
        why = "" if self.obstacle is None else f" ({self.obstacle})"
        return f"{printable(self.path)} {was} {self.found}, {be} {self.wanted}{why}"

    @property
    def is_repairable(self) -> bool:
        """Return True if a repair by root is left to do."""
        return not self.repaired and (self.obstacle is None or self.needs_root)


class Repairer:
    """Finds and repairs mismatches with the rights of this process.

    `assigns_owner` means that the wanted owner is a policy's and not the found one, `acls` that ACLs are compared.
    With `shares` a file may have more names, in trees of the same owner and policy.
    """

    def __init__(self, *, repairs: bool, assigns_owner: bool, acls: bool = False, shares: bool = False) -> None:
        self._repairs = repairs
        self._shares = shares
        self._assigns_owner = assigns_owner
        self._acls = acls
        self._user = os.geteuid()
        self._groups = {os.getegid(), *os.getgroups()}

    def mismatch(
        self, path: str, descriptor: int, status: os.stat_result, wanted: FileAttributes
    ) -> AttributeMismatch | None:
        """Return the mismatch of a descriptor's file, after its repair if that is asked for, or None without one."""
        found = read_attributes(descriptor, status, acls=self._acls)
        if found == wanted:
            return None
        if S_ISREG(status.st_mode) and status.st_nlink > 1 and not self._may_share(status, wanted):
            return AttributeMismatch(path, found, wanted, _HARD_LINKED)
        if not self._repairs:
            return AttributeMismatch(path, found, wanted)
        return self._obstacle(path, status, found, wanted) or self._repair(path, descriptor, found, wanted)

    def _may_share(self, status: os.stat_result, wanted: FileAttributes) -> bool:
        """Return True if the other names of a file can only be its owner's own."""
        return self._shares and status.st_uid == wanted.owner and links_are_protected()

    def _obstacle(
        self, path: str, status: os.stat_result, found: FileAttributes, wanted: FileAttributes
    ) -> AttributeMismatch | None:
        """Return the mismatch with the reason why this process must not repair the file, or None."""
        if self._user == 0 and self._assigns_owner:
            is_given_away = S_ISREG(status.st_mode) and wanted.owner != status.st_uid
            if is_given_away and not links_are_protected():
                reason = f"any user may have linked it there, next: {protection_command()}"
                return AttributeMismatch(path, found, wanted, reason)
            return None
        if status.st_uid != self._user:
            reason = "it belongs to another user"
        elif wanted.owner != self._user:
            reason = "only root can give it away"
        elif self._user and wanted.group != status.st_gid and wanted.group not in self._groups:
            reason = "this user is not in that group"
        else:
            return None
        return AttributeMismatch(path, found, wanted, reason, needs_root=True)

    def _repair(self, path: str, descriptor: int, found: FileAttributes, wanted: FileAttributes) -> AttributeMismatch:
        """Set the wanted attributes, and read them again, because some file systems drop them without an error."""
        try:
            set_attributes(descriptor, found, wanted)
            kept = read_attributes(descriptor, os.fstat(descriptor), acls=self._acls) == wanted
        except OSError as error:
            needs_root = self._user != 0 and error.errno in (errno.EPERM, errno.EACCES)
            return AttributeMismatch(path, found, wanted, error.strerror, needs_root=needs_root)
        return AttributeMismatch(path, found, wanted, None if kept else _NOT_KEPT, repaired=kept)


def protection_command(setting: str = _PROTECTED.name) -> str:
    """Return the command that turns on a protection of links, now and at each boot."""
    return f"echo fs.{setting}=1 | sudo tee --append {_SYSCTL_FILE} && sudo sysctl -p {_SYSCTL_FILE}"


def links_are_protected() -> bool:
    """Return True if users can hard-link only their own files.

    Otherwise a file here may be another user's, whose first name is gone.
    """
    try:
        return _PROTECTED.read_text().strip() != "0"
    except OSError:
        return False
