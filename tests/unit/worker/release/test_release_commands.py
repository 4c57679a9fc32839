"""The argument vectors of the worker's programs. Nothing is run here."""

from pathlib import Path

import pytest

from hookd.model.tables.repository import Paths
from worker.process.run import Command
from worker.release.disk_space import flush_command
from worker.release.git import GitCommands

STRANGE = "--upload-pack=touch ran"
GIT = GitCommands(Path("/state/shop.git"), 7, {"HOME": "/state/home"})
PREFIX = ("git", "--git-dir=/state/shop.git")


GIT_COMMANDS = {
    "init": (
        GIT.init("sha256"),
        ("git", "init", "--quiet", "--bare", "--object-format=sha256", "--template=", "--", "/state/shop.git"),
    ),
    "object_format": (GIT.object_format(), (*PREFIX, "rev-parse", "--show-object-format")),
    "ls_remote": (
        GIT.ls_remote(STRANGE, "main"),
        ("git", "ls-remote", "--end-of-options", STRANGE, "refs/heads/main"),
    ),
    "fetch": (
        GIT.fetch(STRANGE, "main"),
        (
            *PREFIX, "fetch", "--no-tags", "--no-write-fetch-head", "--force", "--progress",
            "--end-of-options", STRANGE, "+refs/heads/main:refs/hookd/head",
        ),
    ),
    "branches": (GIT.branches(STRANGE), ("git", "ls-remote", "--heads", "--end-of-options", STRANGE)),
    "fetch_commit": (
        GIT.fetch_commit(STRANGE, "b" * 40),
        (
            *PREFIX, "fetch", "--no-tags", "--no-write-fetch-head", "--force", "--progress", "--depth=1",
            "--end-of-options", STRANGE, f"+{'b' * 40}:refs/hookd/commits/{'b' * 40}",
        ),
    ),
    "fetch_all": (
        GIT.fetch_all(STRANGE),
        (
            *PREFIX, "fetch", "--no-tags", "--no-write-fetch-head", "--force", "--progress",
            "--end-of-options", STRANGE, "+refs/heads/*:refs/hookd/heads/*", "+refs/tags/*:refs/hookd/tags/*",
        ),
    ),
    "head": (
        GIT.head(),
        (*PREFIX, "rev-parse", "--verify", "--quiet", "--end-of-options", "refs/hookd/head^{commit}"),
    ),
    "resolve": (
        GIT.resolve(STRANGE),
        (*PREFIX, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{STRANGE}^{{commit}}"),
    ),
    "describe": (
        GIT.describe(STRANGE),
        (*PREFIX, "log", "-1", "--format=%an%x00%s", "--no-show-signature", "--end-of-options", STRANGE),
    ),
    "compare": (
        GIT.compare(STRANGE, "b" * 40, Paths(include=("src/**", "**/x.py"), exclude=("*.md",))),
        (
            *PREFIX, "diff-tree", "-r", "--quiet", "--no-renames", "--end-of-options", STRANGE, "b" * 40,
            "--", ":(top,glob)src/**", ":(top,glob)**/x.py", ":(top,glob,exclude)*.md",
        ),
    ),
    "list_tree": (
        GIT.list_tree(STRANGE),
        (*PREFIX, "ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", STRANGE),
    ),
    "read_tree": (GIT.read_tree(STRANGE, Path("/i")), (*PREFIX, "read-tree", "--end-of-options", STRANGE)),
    "write_files": (
        GIT.write_files(Path("/i"), Path("/srv/rel")),
        (
            "git", "-C", "/srv/rel", "--git-dir=/state/shop.git", "--work-tree=/srv/rel",
            "checkout-index", "--all", "--force",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GIT_COMMANDS)
def test_git_command(name: str) -> None:
    command, argv = GIT_COMMANDS[name]
    assert command.argv == argv
    assert (command.total, command.silence) == (7, 7)
    assert command.env["HOME"] == "/state/home"


@pytest.mark.threat(16)
@pytest.mark.parametrize("name", [name for name, (command, _) in GIT_COMMANDS.items() if STRANGE in str(command.argv)])
def test_untrusted_values_follow_end_of_options(name: str) -> None:
    argv = GIT_COMMANDS[name][0].argv
    end = argv.index("--end-of-options")
    assert not any(STRANGE in argument for argument in argv[:end])


def test_separate_index() -> None:
    for command in (GIT.read_tree("a" * 40, Path("/i")), GIT.write_files(Path("/i"), Path("/d"))):
        assert command.env == {"HOME": "/state/home", "GIT_INDEX_FILE": "/i"}


@pytest.mark.threat(31)
def test_flush_command() -> None:
    assert flush_command(Path("/srv/rel")).argv == ("sync", "--file-system", "/srv/rel")


def test_repr_hides_the_environment() -> None:
    secret = {"TOKEN": "canary-value"}
    texts = [repr(Command(("true",), 1, 1, env=secret)), repr(GitCommands(Path("/m"), 1, secret))]
    assert not any("canary-value" in text for text in texts)
