"""Git's commands for one mirror, the variables they run with, and two questions that fetch nothing."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.model.app import App, Paths
from hookd.model.ids import COMMIT_PATTERN
from hookd.model.journal import AppState
from hookd.model.settings import AppPaths, Settings
from worker.errors import CommandFailed, DeployError
from worker.phase.environment import host_variables
from worker.process.run import SYSTEM_PATH, Command, lines_of
from worker.report.log import Redaction

_LINE: Final = re.compile(rf"({COMMIT_PATTERN})\t(.+)")
_COUNT_SECONDS: Final = 10.0
# git prints these after the message of its transport, such as ssh.
GENERIC_LINES: Final = (
    "fatal: Could not read from remote",
    "Please make sure",
    "and the repository exists",
    "warning:",
)


def read_head(app: App, settings: Settings, seconds: float) -> str:
    """Return the commit at the head of an app's branch. Raises DeployError."""
    try:
        lines = lines_of(git_commands(app, settings, seconds).ls_remote(app.repository, app.branch))
    except CommandFailed as error:
        specific = [line for line in error.lines if line and not line.startswith(GENERIC_LINES)]
        # A proxy's address may hold a password.
        cause = Redaction(host_variables()).apply(specific[-1] if specific else error.cause)
        raise type(error)(f"{app.repository} cannot be read: {cause}") from None
    head = parse_ls_remote(lines, app.ref)
    if head is None:
        raise DeployError(f"{app.repository} has no branch {app.branch}")
    return head


def commits_behind(app: App, settings: Settings, state: AppState, head: str | None) -> int | None:
    """Return the number of commits from the deployed one to the head, or None if it is not known.

    It is not known if the mirror lacks one of them, because nothing is fetched here, or if the history was rewritten.
    """
    if head is None or state.deployed is None or state.deployed.commit == head:
        return None
    try:
        lines = lines_of(git_commands(app, settings, _COUNT_SECONDS).count(state.deployed.commit, head))
    except CommandFailed:
        return None
    left, _, right = (lines or [""])[-1].partition("\t")
    return int(right) if left == "0" and right.isdigit() else None


def parse_ls_remote(lines: Iterable[str], ref: str) -> str | None:
    """Return the commit of a ref in the output of `git ls-remote`, or None if it is missing.

    git lists every ref with this ending: for `refs/heads/main` also `refs/heads/a/refs/heads/main`, and that one first.
    """
    found = filter(None, map(_LINE.fullmatch, lines))
    return next((match[1] for match in found if match[2] == ref), None)


def git_commands(app: App, settings: Settings, seconds: float) -> "GitCommands":
    """Return the git commands for an app's mirror: no configuration file, no prompt, no hook, few transports."""
    paths = AppPaths(app, settings)
    config = {
        "core.hooksPath": "/dev/null",
        "core.fsmonitor": "false",
        "safe.bareRepository": "explicit",
        "safe.directory": "*",  # Only hookd writes mirrors. A file:// repository may have any owner.
        "fetch.fsckObjects": "true",
        "transfer.credentialsInUrl": "die",
        "submodule.recurse": "false",
        "fetch.recurseSubmodules": "no",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "credential.helper": "",
        "http.followRedirects": "initial",
    }
    numbered = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(config)}
    numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(config.values())}
    environment = {
        "PATH": os.environ.get("PATH", SYSTEM_PATH),
        **host_variables(),
        "HOME": str(paths.home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_COUNT": str(len(config)),
        **numbered,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(settings.worker.git_protocols),
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "30",
        "GIT_SSH_COMMAND": ssh_command(app.deploy_key, settings.worker.known_hosts),
    }
    return GitCommands(paths.mirror, min(seconds, app.limits.git_seconds), environment)


def ssh_command(key: Path | None, known_hosts: Path | None) -> str:
    """Return the ssh command with a key and the accepted hosts. git runs it in a shell.

    So its paths come from root's own configuration alone.
    """
    options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=10"]
    options += ["-oServerAliveInterval=10", "-oServerAliveCountMax=3"]
    if known_hosts:
        options.append(f"-oUserKnownHostsFile={shlex.quote(str(known_hosts))}")
    if key:
        options += ["-oIdentitiesOnly=yes", f"-i {shlex.quote(str(key))}"]
    return " ".join(["ssh", "-F none", *options])


@dataclass(frozen=True)
class GitCommands:
    """Builds the commands for one bare mirror."""

    mirror: Path
    seconds: float
    env: Mapping[str, str] = field(repr=False)

    def _command(self, *arguments: str, **extra: str) -> Command:
        argv = ("git", f"--git-dir={self.mirror}", *arguments)
        return Command(argv, self.seconds, self.seconds, env={**self.env, **extra})

    def init(self, object_format: str) -> Command:
        options = ("--quiet", "--bare", f"--object-format={object_format}", "--template=")
        argv = ("git", "init", *options, "--", str(self.mirror))
        return Command(argv, self.seconds, self.seconds, env=self.env)

    def object_format(self) -> Command:
        """Print the kind of object ids in the mirror: sha1 or sha256."""
        return self._command("rev-parse", "--show-object-format")

    def ls_remote(self, url: str, branch: str) -> Command:
        argv = ("git", "ls-remote", "--end-of-options", url, f"refs/heads/{branch}")
        return Command(argv, self.seconds, self.seconds, env=self.env)

    def fetch(self, url: str, branch: str) -> Command:
        options = ("--no-tags", "--no-write-fetch-head", "--force", "--progress")
        return self._command("fetch", *options, "--end-of-options", url, f"+refs/heads/{branch}:refs/hookd/head")

    def head(self) -> Command:
        return self.resolve("refs/hookd/head")

    def resolve(self, name: str) -> Command:
        return self._command("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def count(self, base: str, commit: str) -> Command:
        """Print the number of commits that only `base` has, and the number that only `commit` has."""
        return self._command("rev-list", "--count", "--left-right", "--end-of-options", f"{base}...{commit}")

    def describe(self, commit: str) -> Command:
        """Print author and subject, separated by a zero byte."""
        return self._command("log", "-1", "--format=%an%x00%s", "--no-show-signature", "--end-of-options", commit)

    def compare(self, base: str, commit: str, paths: Paths) -> Command:
        """End with status 1 if one of the app's paths differs between two commits, else with 0.

        git compares the two trees, not the history between them. A moved file counts as removed and added.
        """
        include = [f":(top,glob){pattern}" for pattern in paths.include] or [":(top)"]
        exclude = [f":(top,glob,exclude){pattern}" for pattern in paths.exclude]
        options = ("-r", "--quiet", "--no-renames", "--end-of-options")
        return self._command("diff-tree", *options, base, commit, "--", *include, *exclude)

    def list_tree(self, commit: str) -> Command:
        """Print mode, type, id, size and path of every file of a commit."""
        return self._command("ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit)

    def read_tree(self, commit: str, index: Path) -> Command:
        """Read the file list of a commit into a separate index."""
        return self._command("read-tree", "--end-of-options", commit, GIT_INDEX_FILE=str(index))

    def write_files(self, index: Path, directory: Path) -> Command:
        """Write every file of that index below a directory. Runs no hook and no filter of the repository."""
        argv = ("git", "-C", str(directory), f"--git-dir={self.mirror}", f"--work-tree={directory}")
        env = {**self.env, "GIT_INDEX_FILE": str(index)}
        return Command((*argv, "checkout-index", "--all", "--force"), self.seconds, self.seconds, env=env)
