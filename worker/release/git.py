"""Git's commands for one mirror, the variables they run with, and two questions that fetch nothing."""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from hookd.model.ids import COMMIT_PATTERN, is_branch
from hookd.model.journal import AppState
from hookd.model.settings import AppPaths, Settings
from hookd.model.tables.repository import Paths
from hookd.model.text import printable
from worker.errors import CommandFailed, DeployError, Unreachable
from worker.process.run import SYSTEM_PATH, Command, lines_of
from worker.report.log import Redaction

_BRANCHES: Final = "refs/heads/"
_LINE: Final = re.compile(rf"({COMMIT_PATTERN})\t(.+)")
_OWN_BRANCH: Final = re.compile(r"ref: refs/heads/(.+)\tHEAD")
_COUNT_SECONDS: Final = 10.0
_MAX_BRANCHES: Final = 5
# Findings in old histories that change no file: texts, dates and padded modes. The others stay errors. See fsck.h of
# git, whose `--strict` makes errors of all warnings.
_HARMLESS_FINDINGS: Final = (
    *("badDate", "badDateOverflow", "badEmail", "badName", "badTimezone", "missingEmail", "missingNameBeforeEmail"),
    *("missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "zeroPaddedDate"),
    *("badFilemode", "zeroPaddedFilemode"),
)
_PROXIES: Final = ("https_proxy", "http_proxy", "no_proxy", "all_proxy")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
# git and git-lfs print these after the message of their transport, such as ssh.
GENERIC_LINES: Final = (
    "fatal: Could not read from remote",
    "Please make sure",
    "and the repository exists",
    "warning:",
    "error: failed to fetch some objects",
)


def git_variables() -> dict[str, str]:
    """Return the worker's own proxies and certificates for git and git-lfs.

    libcurl reads some proxies in lower case alone, and other programs in upper case. It does not know SSL_CERT_FILE.
    """
    own = {name: os.environ[name] for name in _CERTIFICATES if os.environ.get(name)}
    for theirs, git_name in (("SSL_CERT_FILE", "GIT_SSL_CAINFO"), ("SSL_CERT_DIR", "GIT_SSL_CAPATH")):
        if theirs in own:
            own.setdefault(git_name, own[theirs])
    for name in _PROXIES:
        if value := os.environ.get(name) or os.environ.get(name.upper()):
            own |= {name: value, name.upper(): value}
    return own


def read_head(app: App, settings: Settings, seconds: float) -> str:
    """Return the commit at the head of an app's branch. Raises DeployError."""
    commands = git_commands(app, settings, seconds)
    head = parse_ls_remote(_ask_remote(app, commands.ls_remote(app.repository, app.branch)), app.ref)
    if head is None:
        raise missing_branch(app, _ask_remote(app, commands.branches(app.repository)))
    return head


def read_own_branch(app: App, settings: Settings, seconds: float) -> str:
    """Return the branch to which the HEAD of an app's repository points. Raises DeployError."""
    commands = git_commands(app, settings, seconds)
    lines = _ask_remote(app, commands.own_branch(app.repository))
    name = next((match[1] for match in map(_OWN_BRANCH.fullmatch, lines) if match), "")
    if not is_branch(name) and not _ask_remote(app, commands.branches(app.repository)):
        raise DeployError(f"{app.repository} has no commit yet")
    if not is_branch(name):
        raise DeployError(f"{app.repository} names no branch of its own")
    return name


def _ask_remote(app: App, command: Command) -> tuple[str, ...]:
    """Return the lines of a command that asks an app's repository. Raises DeployError."""
    try:
        return tuple(lines_of(command))
    except CommandFailed as error:
        specific = [line for line in error.lines if line and not line.startswith(GENERIC_LINES)]
        # A proxy's address may hold a password.
        cause = Redaction(git_variables()).apply(specific[-1] if specific else error.cause)
        raise type(error)(f"{app.repository} cannot be read: {cause}") from None


def missing_branch(app: App, lines: Iterable[str]) -> Unreachable:
    """Return the error for a missing branch, with those in the output of `git ls-remote`."""
    found = [match[2].removeprefix(_BRANCHES) for match in filter(None, map(_LINE.fullmatch, lines))]
    more = f" and {len(found) - _MAX_BRANCHES} more" if len(found) > _MAX_BRANCHES else ""
    names = printable(f"{', '.join(found[:_MAX_BRANCHES])}{more}")
    cause = f"{app.repository} has no branch {app.branch}, " + (f"it has {names}" if found else "it is empty")
    hint = Hint(HintKind.SET_BRANCH, next((name for name in found if is_branch(name)), "NAME"))
    return Unreachable(cause, hint=hint if found else None)


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
        **{f"fetch.fsck.{finding}": "warn" for finding in _HARMLESS_FINDINGS},
    }
    numbered = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(config)}
    numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(config.values())}
    environment = {
        "PATH": os.environ.get("PATH", SYSTEM_PATH),
        **git_variables(),
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


def commit_ref(commit: str) -> str:
    """Return the ref that proves that a commit of a submodule was fetched completely."""
    return f"refs/hookd/commits/{commit}"


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

    def own_branch(self, url: str) -> Command:
        """Print the branch to which the repository's HEAD points."""
        argv = ("git", "ls-remote", "--symref", "--end-of-options", url, "HEAD")
        return Command(argv, self.seconds, self.seconds, env=self.env)

    def branches(self, url: str) -> Command:
        """Print the branches of a repository, each with its commit."""
        argv = ("git", "ls-remote", "--heads", "--end-of-options", url)
        return Command(argv, self.seconds, self.seconds, env=self.env)

    def fetch(self, url: str, branch: str) -> Command:
        return self._fetch(url, f"+refs/heads/{branch}:refs/hookd/head")

    def fetch_commit(self, url: str, commit: str) -> Command:
        """Fetch one commit without its history. Some hosts refuse that for a commit that is no branch's head."""
        return self._fetch(url, f"+{commit}:{commit_ref(commit)}", options=("--depth=1",))

    def fetch_all(self, url: str) -> Command:
        """Fetch all branches and tags."""
        return self._fetch(url, "+refs/heads/*:refs/hookd/heads/*", "+refs/tags/*:refs/hookd/tags/*")

    def _fetch(self, url: str, *refspecs: str, options: tuple[str, ...] = ()) -> Command:
        own = ("--no-tags", "--no-write-fetch-head", "--force", "--progress", *options)
        return self._command("fetch", *own, "--end-of-options", url, *refspecs)

    def keep(self, commit: str) -> Command:
        """Note that a commit was fetched completely."""
        return self._command("update-ref", "--end-of-options", commit_ref(commit), commit)

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

    def submodules(self, commit: str) -> Command:
        """Print the settings of a commit's submodules, each as its name, a line end, its value and a zero byte."""
        return self._command("config", "--null", f"--blob={commit}:.gitmodules", "--get-regexp", r"^submodule\.")

    def lfs_url(self, commit: str) -> Command:
        """Print the address of a repository's large files, if the commit names one."""
        return self._command("config", f"--blob={commit}:.lfsconfig", "--get", "lfs.url")

    def read_tree(self, commit: str, index: Path) -> Command:
        """Read the file list of a commit into a separate index."""
        return self._command("read-tree", "--end-of-options", commit, GIT_INDEX_FILE=str(index))

    def write_files(self, index: Path, directory: Path) -> Command:
        """Write every file of that index below a directory. Runs no hook and no filter of the repository."""
        return self._in_tree(index, directory, "checkout-index", "--all", "--force")

    def list_large_files(self, index: Path, directory: Path) -> Command:
        """Print the paths of that index that git-lfs stores, by the attributes in the written files."""
        return self._in_tree(index, directory, "ls-files", "-z", "--", ":(top,attr:filter=lfs)")

    def _in_tree(self, index: Path, directory: Path, *arguments: str) -> Command:
        argv = ("git", "-C", str(directory), f"--git-dir={self.mirror}", f"--work-tree={directory}", *arguments)
        return Command(argv, self.seconds, self.seconds, env={**self.env, "GIT_INDEX_FILE": str(index)})

    def write_tree(self, content: Path) -> Command:
        """Store the content of a tree, and print its id."""
        return self._command("hash-object", "-w", "-t", "tree", "--", str(content))

    def fetch_large_files(self, url: str, tree: str, source: str | None) -> Command:
        """Fetch the files that git-lfs stores for a tree, from `source` or from the place that follows from a URL."""
        options = ("-c", f"lfs.url={source}") if source else ()
        argv = ("git", f"--git-dir={self.mirror}", *options, "lfs", "fetch", url, tree)
        return Command(argv, self.seconds, self.seconds, env=self.env)
