"""Checkout of a project, read by git as its owner, without a write.

git runs programs that the repository names: hooks, fsmonitor, filters. Root never runs git here, because the owner of
the directory can replace the repository after any check of owners and modes.
"""

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from units.system.errors import Refused
from units.system.run import CommandFailed, run

_CONFIG: Final = {
    "safe.directory": "*",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    # After `chmod -R 755` every file would count as changed. Releases get their modes from the commit.
    "core.fileMode": "false",
}
_ENVIRONMENT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "HOME": "/nonexistent",
}
_STATUS: Final = (
    *("status", "--porcelain=v2", "-z", "--branch", "--no-renames"),
    *("--ignore-submodules=all", "--untracked-files=normal", "--ignored=matching"),
)
_SECONDS: Final = 120


@dataclass(frozen=True)
class Checkout:
    """A work tree with its remote, its commit, and its differences from the commit.

    `branch` is the remote one. `untracked` are paths below the root. A directory without tracked files is one path with
    a slash at its end. `changed` are tracked files that differ from the commit. `unpushed` counts commits that are on
    no remote branch.
    """

    root: Path
    url: str
    branch: str | None
    commit: str
    tracked: tuple[str, ...]
    changed: tuple[str, ...]
    untracked: tuple[str, ...]
    unpushed: int


def read_checkout(root: Path) -> Checkout:
    """Read a checkout. Raises Refused if there is none, or if it does not belong to one user."""
    git = partial(_git, root, _owner(root))
    try:
        fields = _fields(git(*_STATUS))
        head = dict(field.removeprefix("# branch.").split(" ", 1) for field in fields if field.startswith("# branch."))
        local = None if head["head"] == "(detached)" else head["head"]
        remote, _, followed = head.get("upstream", "origin/").partition("/")
        return Checkout(
            root=root,
            url=git("config", "--get", "--default=", f"remote.{remote}.url").strip(),
            branch=followed or local,
            commit=head["oid"],
            tracked=tuple(_fields(git("ls-tree", "-r", "-z", "--name-only", "--full-tree", head["oid"]))),
            # The path follows 8 words, or 10 in a merge conflict.
            changed=tuple(one.split(" ", 8 if one[0] == "1" else 10)[-1] for one in fields if one[0] in "1u"),
            untracked=tuple(field[2:] for field in fields if field[0] in "?!"),
            unpushed=int(git("rev-list", "--count", "HEAD", "--not", "--remotes")),
        )
    except CommandFailed as error:
        raise Refused([f"git cannot read {root}: {error}"]) from None


def _git(root: Path, owner: str, *arguments: str) -> str:
    options = (word for key, value in _CONFIG.items() for word in ("-c", f"{key}={value}"))
    command = ("runuser", "-u", owner, "--", "git", "-C", str(root), *options, *arguments)
    return run(command, seconds=_SECONDS, extra=_ENVIRONMENT)


def _fields(output: str) -> list[str]:
    return [field for field in output.split("\0") if field]


def _owner(root: Path) -> str:
    """Return the one owner besides root. Raises Refused."""
    try:
        owners = dict.fromkeys(path.owner() for path in (root, root / ".git", root / ".git" / "config"))
    except OSError:
        raise Refused([f"{root} is no git checkout: it has no .git/config"]) from None
    except KeyError:
        raise Refused([f"the owner of {root} or its .git does not exist"], hint=_chown(root)) from None
    names = [name for name in owners if name != "root"]
    if len(names) != 1:
        reason = f"{root} and its .git belong to {' and '.join(names) or 'root alone'}"
        raise Refused([f"{reason}, but git runs as one user, and never as root"], hint=_chown(root, *names[:1]))
    return names[0]


def _chown(root: Path, owner: str = "manager") -> str:
    return shlex.join(("sudo", "chown", "-R", f"{owner}:", f"{root}/.git"))
