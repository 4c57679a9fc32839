"""Bare repositories of hookd's own: fetch commits into them, and write the files of one into a directory.

The mirror of an app's repository is one, and so is that of each submodule. Values after `--end-of-options` may begin
with a dash. After `head` and `resolve`, only full object ids are used.
"""

import re
import resource
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

import git
from git.exc import GitCommandNotFound

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from hookd.model.ids import COMMIT_PATTERN
from hookd.model.settings import Settings
from worker.errors import CommandFailed, CommitRefused, DeployError, TimedOut, Unreachable
from worker.process.run import Command, Line, LineSplitter, Take, command_failed, remove_tree, supervise
from worker.process.subreaper import die_with_parent
from worker.release.git import GENERIC_LINES, GitCommands, commit_ref, git_commands, missing_branch, parse_ls_remote
from worker.release.git_errors import fetch_error
from worker.release.tree import TreeEntry, parse_tree, reject_deep_paths

_PROGRESS: Final = re.compile(r"\d+% \(\d+/\d+\)(?!.*done)")
# A warning about an object, with its kind: git-fsck(1).
_FINDING: Final = re.compile(r"warning: object [0-9a-f]+: ([A-Za-z]+):")
# Leftovers of a killed git or git-lfs in a bare repository. The locks and `packed-refs.new` would stop every later git.
_LEFTOVERS: Final = (
    "**/*.lock",
    "**/tmp_*",
    "packed-refs.new",
    "objects/pack/.tmp-*",
    "objects/pack/*.keep",
    "lfs/incomplete",
    "lfs/tmp",
)
_MAX_LISTING_BYTES: Final = 64 * 1024 * 1024


class CommitInfo(NamedTuple):
    """Author and subject of a commit: text from an untrusted source."""

    author: str
    subject: str


class BareRepository:
    """A bare repository on the disk of this host."""

    def __init__(self, commands: GitCommands, each_line: Line) -> None:
        self.git = commands
        self._mirror = commands.mirror
        self._line = each_line
        self._findings: set[str] = set()

    @property
    def directory(self) -> Path:
        """The repository's directory."""
        return self._mirror

    def make(self, object_format: str) -> None:
        """Make the empty repository, first under another name."""
        new = self._mirror.with_suffix(".new")
        self._mirror.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._read(replace(self.git, mirror=new).init(object_format))
        new.rename(self._mirror)

    def remove(self) -> None:
        """Remove the repository, first its name: a partly removed one must not keep it."""
        broken = self._mirror.with_suffix(".broken")
        self._mirror.rename(broken)
        remove_tree(broken)

    def remove_leftovers(self) -> None:
        """Remove the leftovers of a killed git. The caller holds the app's lock."""
        for stale in [found for pattern in _LEFTOVERS for found in self._mirror.glob(pattern)]:
            if stale.is_dir():
                remove_tree(stale)
            else:
                stale.unlink(missing_ok=True)
        for left in (self._mirror.with_suffix(".new"), self._mirror.with_suffix(".broken")):
            if left.exists():
                remove_tree(left)

    def list_tree(self, commit: str) -> list[TreeEntry]:
        """List every path of a commit. Raises CommitRefused for a path that is not UTF-8, or too deep."""
        entries = parse_tree(self._read_bytes(self.git.list_tree(commit)))
        reject_deep_paths(entries)
        return entries

    def write(self, commit: str, directory: Path) -> None:
        """Write every file of a commit below an empty directory."""
        with self._index(commit) as index:
            self._read(self.git.write_files(index, directory))

    def large_files(self, commit: str, directory: Path) -> list[str]:
        """Return the paths of a commit that git-lfs stores, after its files were written to a directory."""
        with self._index(commit) as index:
            return [path for path in self._read(self.git.list_large_files(index, directory)).split("\0") if path]

    @contextmanager
    def _index(self, commit: str) -> Iterator[Path]:
        index = self._mirror / "hookd-index"
        index.unlink(missing_ok=True)
        try:
            self._read(self.git.read_tree(commit, index))
            yield index
        finally:
            index.unlink(missing_ok=True)

    def submodule_settings(self, commit: str) -> list[tuple[str, str]]:
        """Return the settings of a commit's submodules, each as its name and its value. They are untrusted."""
        rows = self._read(self.git.submodules(commit), may_fail=True).split("\0")
        return [(name, value) for name, _, value in (row.partition("\n") for row in rows if row)]

    def lfs_url(self, commit: str) -> str:
        """Return the address of large files in a commit, or "". It is untrusted."""
        return self._read(self.git.lfs_url(commit), may_fail=True).strip()

    def write_tree(self, files: Mapping[str, str]) -> str:
        """Write a directory of known files, each a name with its id, and return its id. Raises CommandFailed."""
        tree = self._mirror / "hookd-tree"
        rows = (b"100644 %b\0%b" % (name.encode(), bytes.fromhex(files[name])) for name in sorted(files))
        tree.write_bytes(b"".join(rows))
        try:
            return self._read(self.git.write_tree(tree)).strip()
        finally:
            tree.unlink()

    def fetch_large_files(self, url: str, tree: str, source: str | None, *, max_bytes: int) -> None:
        """Fetch the files that git-lfs stores for a tree, none above a size. Raises CommandFailed."""
        self._read_bytes(self.git.fetch_large_files(url, tree, source), max_file_bytes=max_bytes)

    def fetch_commit(self, url: str, commit: str) -> bool:
        """Fetch one commit, unless it is here. Return False if the repository lacks it. Raises CommandFailed."""
        if not self._mirror.exists():
            self.make("sha256" if len(commit) == 64 else "sha1")
        if self._has(commit_ref(commit)):
            return True
        try:
            self._read(self.git.fetch_commit(url, commit))
        except TimedOut:
            raise
        except CommandFailed:
            self._read(self.git.fetch_all(url))
            if not self._has(commit):
                return False
            self._read(self.git.keep(commit))
        return True

    def _has(self, name: str) -> bool:
        return bool(self._read(self.git.resolve(name), may_fail=True))

    def _read(self, command: Command, *, may_fail: bool = False) -> str:
        return self._read_bytes(command, may_fail=may_fail).decode("utf-8", "replace")

    def _read_bytes(self, command: Command, *, may_fail: bool = False, max_file_bytes: int | None = None) -> bytes:
        """Run a git command under hookd's limits and return its output. Raises CommandFailed, unless it may fail."""
        lines, printed = LineSplitter(self._message), bytearray()
        # GitPython kills the process when this object is deleted.
        started = _start(command, self._mirror.parent, max_file_bytes)
        process = cast("subprocess.Popen[bytes]", started.proc)
        stdout, stderr = cast("tuple[IO[bytes], IO[bytes]]", (process.stdout, process.stderr))
        with stdout, stderr:
            taking: dict[IO[bytes], Take] = {stdout: partial(_append_limited, printed), stderr: lines.take}
            status = supervise(process, taking, command, lines)
        if status and not may_fail:
            specific = tuple(line for line in lines.kept if not line.startswith(GENERIC_LINES))
            raise command_failed(command, status, specific)
        return bytes(printed)

    def _message(self, text: str) -> None:
        """Log a line of git, except progress and repetitions of one finding: a history may hold thousands."""
        finding = _FINDING.match(text)
        if _PROGRESS.search(text) or (finding and finding[1] in self._findings):
            return
        if finding:
            self._findings.add(finding[1])
        self._line(text)


class GitMirror(BareRepository):
    """The mirror of one app's repository."""

    def __init__(self, app: App, settings: Settings, each_line: Line) -> None:
        super().__init__(git_commands(app, settings, app.limits.git_seconds), each_line)
        self.app = app

    def fetch_head(self) -> str:
        """Fetch the branch and return its commit. Raises Unreachable, and DeployError for a full disk."""
        self.remove_leftovers()
        try:
            if not self._mirror.exists():
                self._make_mirror()
            self._fetch()
            return self._read(self.git.head()).strip()
        except Unreachable:
            raise  # There is no such branch.
        except CommandFailed as error:
            what = f"the branch {self.app.branch} of {self.app.repository}"
            raise fetch_error(self.app, self._mirror, what, error, access=Hint(HintKind.RUN_DOCTOR)) from None

    def _fetch(self) -> None:
        command = self.git.fetch(self.app.repository, self.app.branch)
        try:
            self._read(command)
        except TimedOut:
            raise  # A second try would hang, too.
        except CommandFailed:
            if not self._mirror_is_damaged() and not self._object_format_changed():
                raise
            self._line("the mirror cannot be used and is made anew")
            self.remove()
            self._make_mirror()
            self._read(command)

    def _mirror_is_damaged(self) -> bool:
        """Return True if the mirror's own head cannot be read, as after a power cut during a fetch."""
        written = (self._mirror / "refs" / "hookd" / "head").exists()
        return written and not self._read(self.git.head(), may_fail=True)

    def _object_format_changed(self) -> bool:
        """Return True if the mirror is no repository, or the remote one has another kind of object ids."""
        own = self._read(self.git.object_format(), may_fail=True).strip()
        return len(self._ask_remote()) != {"sha1": 40, "sha256": 64}.get(own)

    def _make_mirror(self) -> None:
        self.make("sha256" if len(self._ask_remote()) == 64 else "sha1")

    def _ask_remote(self) -> str:
        """Return the branch's commit. Raises Unreachable if the repository has no such branch."""
        answer = self._read(self.git.ls_remote(self.app.repository, self.app.branch))
        head = parse_ls_remote(answer.split("\n"), self.app.ref)
        if head is None:
            branches = self._read(self.git.branches(self.app.repository)).split("\n")
            raise missing_branch(self.app, branches)
        return head

    def resolve(self, wanted: str) -> str:
        """Return the full object id of a name that an operator typed. Raises DeployError for an unknown one."""
        found = self._read(self.git.resolve(wanted), may_fail=True).strip()
        if not re.fullmatch(COMMIT_PATTERN, found):
            raise DeployError(
                f"the commit {wanted} is not in {self.app.repository}, branch {self.app.branch}",
                hint=Hint(HintKind.LIST_COMMITS, self.app.branch),
            )
        return found

    def describe(self, commit: str) -> CommitInfo:
        """Return the author and the subject of a commit."""
        author, _, subject = self._read(self.git.describe(commit)).partition("\0")
        return CommitInfo(author.strip()[:200], subject.strip()[:200])

    def has_changes(self, base: str, commit: str) -> bool:
        """Return True if a commit differs from `base` in one of the app's paths, or if git cannot compare them.

        The mirror may lack `base` after it was made anew.
        """
        paths = self.app.paths
        if not paths.include and not paths.exclude:
            return True
        try:
            self._read(self.git.compare(base, commit, paths))
        except CommandFailed:
            return True
        return False


def _append_limited(printed: bytearray, data: bytes) -> None:
    """Collect output up to a limit: a few kilobytes of nested trees can describe a list of gigabytes."""
    printed.extend(data)
    if len(printed) > _MAX_LISTING_BYTES:
        raise CommitRefused(f"the list of the commit's files exceeds {_MAX_LISTING_BYTES // 1024**2} MiB")


def _start(command: Command, directory: Path, max_file_bytes: int | None) -> git.Git.AutoInterrupt:
    """Start git in a process group of its own. Raises DeployError without git.

    Only GitPython's process starter is used, because its other calls wait for git without limits of time and size.
    """
    try:
        return git.Git(str(directory)).execute(
            list(command.argv),
            as_process=True,
            env=dict(command.env),
            start_new_session=True,
            preexec_fn=partial(_before_git, max_file_bytes),
        )
    except GitCommandNotFound:
        raise DeployError("git is not installed", hint=Hint(HintKind.INSTALL_GIT)) from None


def _before_git(max_file_bytes: int | None) -> None:
    die_with_parent()
    if max_file_bytes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with suppress(ValueError):  # The worker's own limit is lower.
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, hard))
