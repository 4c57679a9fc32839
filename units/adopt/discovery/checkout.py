"""Checkout of a project, read by git as its owner, without a write.

git runs programs that the repository names: hooks, fsmonitor, filters. Root never runs git here, because the owner of
the directory can replace the repository after any check of owners and modes.
"""

import pwd
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from units.system import disk
from units.system.errors import Refused
from units.system.run import CommandFailed, run

_CONFIG: Final = {
    "safe.directory": "*",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    # After `chmod -R 755` every file would count as changed. Releases get their modes from the commit.
    "core.fileMode": "false",
}
_SECONDS: Final = 120


@dataclass(frozen=True)
class Checkout:
    """A work tree with its remote, its commit, and its differences from the commit.

    `untracked` are paths below the root. A directory without tracked files is one path with a slash at its end.
    `changed` are tracked files that differ from the commit. `unpushed` counts commits that are on no remote branch.
    """

    root: Path
    owner: str
    url: str | None
    branch: str | None
    commit: str
    tracked: tuple[str, ...]
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    unpushed: int


class _Git:
    def __init__(self, root: Path, owner: str) -> None:
        self._start = ("runuser", "-u", owner, "--", "git", "-C", str(root))
        numbered = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(_CONFIG)}
        numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(_CONFIG.values())}
        self._extra = {
            **numbered,
            "GIT_CONFIG_COUNT": str(len(_CONFIG)),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": "/nonexistent",
        }

    def __call__(self, *arguments: str) -> str:
        return run((*self._start, *arguments), seconds=_SECONDS, extra=self._extra)

    def value(self, *arguments: str) -> str | None:
        """Return one line of output, or None if git fails or prints nothing."""
        try:
            return self(*arguments).strip() or None
        except CommandFailed:
            return None


def read_checkout(root: Path) -> Checkout:
    """Read a checkout. Raises Refused if there is none, or if its owner is root or ambiguous."""
    git = _Git(root, owner := _owner(root))
    try:
        commit = git("rev-parse", "--verify", "HEAD^{commit}").strip()
        branch = git.value("symbolic-ref", "--quiet", "--short", "HEAD")
        changed, untracked = _status(git)
        return Checkout(
            root=root,
            owner=owner,
            url=_remote_url(git, branch),
            branch=_remote_branch(git, branch),
            commit=commit,
            tracked=tuple(_fields(git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit))),
            changed=changed,
            untracked=untracked,
            unpushed=int(git("rev-list", "--count", "HEAD", "--not", "--remotes")),
        )
    except CommandFailed as error:
        raise Refused([f"git cannot read {root}: {error}"]) from None


def _owner(root: Path) -> str:
    """Return the one owner besides root. Raises Refused."""
    found = [disk.status(path) for path in (root, root / ".git", root / ".git" / "config")]
    if None in found:
        raise Refused([f"{root} is no git checkout: it has no .git/config"])
    owners = list(dict.fromkeys(_user_name(root, one.st_uid) for one in found if one and one.st_uid != 0))
    if not owners:
        reason = f"{root} and its .git are root's alone, and hookd never runs git as root"
        raise Refused([reason], hint=_chown_command(root, "manager:www-data"))
    if len(owners) > 1:
        reason = f"{root} and its .git belong to {' and '.join(owners)}, but git must run as one owner"
        raise Refused([reason], hint=_chown_command(root, f"{owners[0]}:"))
    return owners[0]


def _user_name(root: Path, uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise Refused([f"the owner of {root} or its .git, user id {uid}, does not exist"]) from None


def _chown_command(root: Path, owner: str) -> str:
    return shlex.join(("sudo", "chown", "-R", owner, f"{root}/.git"))


def _remote_url(git: _Git, branch: str | None) -> str | None:
    remote = git.value("config", "--get", f"branch.{branch}.remote") if branch else None
    return git.value("config", "--get", f"remote.{remote or 'origin'}.url")


def _remote_branch(git: _Git, branch: str | None) -> str | None:
    """Return the branch that `git pull` follows, whose name may differ from the local one."""
    merge = git.value("config", "--get", f"branch.{branch}.merge") if branch else None
    return merge.removeprefix("refs/heads/") if merge else branch


def _status(git: _Git) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the changed files, and the untracked paths including ignored ones."""
    output = git(
        "status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=all",
        "--untracked-files=normal", "--ignored=matching",
    )  # fmt: skip
    fields = _fields(output)
    changed = tuple(field[3:] for field in fields if field[:2] not in ("??", "!!"))
    return changed, tuple(field[3:] for field in fields if field[:2] in ("??", "!!"))


def _fields(output: str) -> list[str]:
    return [field for field in output.split("\0") if field]
