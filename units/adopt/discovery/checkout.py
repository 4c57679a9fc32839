"""What git says of a checkout that is deployed by hand: read as its owner, never as root, without a write.

git runs programs that the repository names (hooks, fsmonitor, filters). Whoever owns the directory can put another
repository in its place after any look at it, so no look at owners and modes makes root's git safe.
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
    # A `chmod -R 755` makes every file "changed"; a release gets its modes from the commit.
    "core.fileMode": "false",
}
_SECONDS: Final = 120


@dataclass(frozen=True)
class Checkout:
    """A work tree: where it comes from, where it stands, and what is in it that the commit does not have.

    `loose` are paths below the root that git does not track, a directory with nothing tracked in it as one path that
    ends with a slash. `changed` are tracked files that differ from the commit; `unpushed` counts commits that no
    remote branch is known to have.
    """

    root: Path
    owner: str
    url: str | None
    branch: str | None
    commit: str
    tracked: tuple[str, ...]
    changed: tuple[str, ...]
    loose: tuple[str, ...]
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

    def answer(self, *arguments: str) -> str | None:
        """One line, or None when git has no answer."""
        try:
            return self(*arguments).strip() or None
        except CommandFailed:
            return None


def read_checkout(root: Path) -> Checkout:
    """Read a checkout; raises Refused when there is none that may be read."""
    git = _Git(root, owner := _owner(root))
    try:
        commit = git("rev-parse", "--verify", "HEAD^{commit}").strip()
        branch = git.answer("symbolic-ref", "--quiet", "--short", "HEAD")
        changed, loose = _status(git)
        return Checkout(
            root=root,
            owner=owner,
            url=_remote_url(git, branch),
            branch=_remote_branch(git, branch),
            commit=commit,
            tracked=tuple(_fields(git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit))),
            changed=changed,
            loose=loose,
            unpushed=int(git("rev-list", "--count", "HEAD", "--not", "--remotes")),
        )
    except CommandFailed as error:
        raise Refused([f"{root} cannot be read as a git checkout: {error}"]) from None


def _owner(root: Path) -> str:
    """Whose repository it is, besides root; raises Refused for none, nobody and several."""
    inwards = [disk.status(path) for path in (root, root / ".git", root / ".git" / "config")]
    if None in inwards:
        raise Refused([f"{root} is no git checkout: it has no .git/config"])
    owners = dict.fromkeys(_user_name(root, found.st_uid) for found in inwards if found and found.st_uid != 0)
    if not owners:
        why = f"{root} and its .git are root's alone, and hookd never runs git as root"
        raise Refused([why], hint=_chown_command(root, "manager:www-data"))
    outer = next(iter(owners))
    if len(owners) > 1:
        why = f"{root} and its .git belong to {' and '.join(owners)}: git would run what the one wrote as the other"
        raise Refused([why], hint=_chown_command(root, f"{outer}:"))
    return outer


def _user_name(root: Path, uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise Refused([f"{root} or its .git belongs to the number {uid}, which is no user here"]) from None


def _chown_command(root: Path, owner: str) -> str:
    return shlex.join(("sudo", "chown", "-R", owner, f"{root}/.git"))


def _remote_url(git: _Git, branch: str | None) -> str | None:
    remote = git.answer("config", "--get", f"branch.{branch}.remote") if branch else None
    return git.answer("config", "--get", f"remote.{remote or 'origin'}.url")


def _remote_branch(git: _Git, branch: str | None) -> str | None:
    """The branch that `git pull` follows, which may be called otherwise than the local one."""
    merge = git.answer("config", "--get", f"branch.{branch}.merge") if branch else None
    return merge.removeprefix("refs/heads/") if merge else branch


def _status(git: _Git) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What differs from the commit, and what git does not track, ignored or not."""
    printed = git(
        "status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=all",
        "--untracked-files=normal", "--ignored=matching",
    )  # fmt: skip
    changed: list[str] = []
    loose: list[str] = []
    for field in _fields(printed):
        state, path = field[:2], field[3:]
        (loose if state in ("??", "!!") else changed).append(path)
    return tuple(changed), tuple(loose)


def _fields(printed: str) -> list[str]:
    return [field for field in printed.split("\0") if field]
