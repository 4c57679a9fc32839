"""The bare mirror of an app's repository: fetch commits into it, and write the files of one into a directory.

Values after `--end-of-options` may begin with a dash. After `head` and `resolve`, only full object ids are used.
"""

import re
import subprocess
from dataclasses import dataclass, replace
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
from worker.release.git import GENERIC_LINES, git_commands, parse_ls_remote

_PROGRESS: Final = re.compile(r"\d+% \(\d+/\d+\)(?!.*done)")
# Leftovers of a killed git in a bare repository. The locks and `packed-refs.new` would stop every later git.
_LEFTOVERS: Final = (
    "**/*.lock",
    "**/tmp_*",
    "packed-refs.new",
    "objects/pack/.tmp-*",
    "objects/pack/*.keep",
)
_MAX_DEPTH: Final = 100
_MAX_LISTING_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class TreeEntry:
    """One path of a commit. `size` is in bytes."""

    mode: str
    path: str
    size: int = 0

    @property
    def is_link(self) -> bool:
        """Return True for a symbolic link."""
        return self.mode == "120000"

    @property
    def is_submodule(self) -> bool:
        """Return True for a submodule."""
        return self.mode == "160000"


class CommitInfo(NamedTuple):
    """Author and subject of a commit: text from an untrusted source."""

    author: str
    subject: str


class GitMirror:
    """The mirror of one app's repository."""

    def __init__(self, app: App, settings: Settings, each_line: Line) -> None:
        self._app = app
        self._git = git_commands(app, settings, app.limits.git_seconds)
        self._mirror = self._git.mirror
        self._line = each_line

    def fetch_head(self) -> str:
        """Fetch the branch and return its commit. Raises Unreachable if that fails or there is no such branch."""
        self._remove_leftovers()
        try:
            if not self._mirror.exists():
                self._make_mirror()
            self._fetch()
            return self._read(self._git.head()).strip()
        except CommandFailed as error:
            raise Unreachable(
                f"the branch {self._app.branch} of {self._app.repository} cannot be fetched: {error.cause}",
                lines=error.lines,
                hint=Hint(HintKind.RUN_DOCTOR),
            ) from None

    def _fetch(self) -> None:
        command = self._git.fetch(self._app.repository, self._app.branch)
        try:
            self._read(command)
        except TimedOut:
            raise  # A second try would hang, too.
        except CommandFailed:
            if not self._mirror_is_damaged() and not self._object_format_changed():
                raise
            self._line("the mirror cannot be used and is made anew")
            broken = self._mirror.with_suffix(".broken")  # A partly removed mirror must not keep its name.
            self._mirror.rename(broken)
            remove_tree(broken)
            self._make_mirror()
            self._read(command)

    def _mirror_is_damaged(self) -> bool:
        """Return True if the mirror's own head cannot be read, as after a power cut during a fetch."""
        written = (self._mirror / "refs" / "hookd" / "head").exists()
        return written and not self._read(self._git.head(), may_fail=True)

    def _object_format_changed(self) -> bool:
        """Return True if the mirror is no repository, or the remote one has another kind of object ids."""
        own = self._read(self._git.object_format(), may_fail=True).strip()
        return len(self._ask_remote()) != {"sha1": 40, "sha256": 64}.get(own)

    def _make_mirror(self) -> None:
        """Make the empty mirror, first under another name."""
        commit = self._ask_remote()
        new = self._mirror.with_suffix(".new")
        self._mirror.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._read(replace(self._git, mirror=new).init("sha256" if len(commit) == 64 else "sha1"))
        new.rename(self._mirror)

    def _ask_remote(self) -> str:
        answer = self._read(self._git.ls_remote(self._app.repository, self._app.branch))
        head = parse_ls_remote(answer.split("\n"), self._app.ref)
        if head is None:
            raise CommandFailed("there is no such branch")
        return head

    def _remove_leftovers(self) -> None:
        """Remove the leftovers of a killed git. The caller holds the app's lock."""
        for stale in [found for pattern in _LEFTOVERS for found in self._mirror.glob(pattern)]:
            if stale.is_dir():
                remove_tree(stale)
            else:
                stale.unlink(missing_ok=True)
        for left in (self._mirror.with_suffix(".new"), self._mirror.with_suffix(".broken")):
            if left.exists():
                remove_tree(left)

    def resolve(self, wanted: str) -> str:
        """Return the full object id of a name that an operator typed. Raises DeployError for an unknown one."""
        found = self._read(self._git.resolve(wanted), may_fail=True).strip()
        if not re.fullmatch(COMMIT_PATTERN, found):
            raise DeployError(
                f"the commit {wanted} is not in {self._app.repository}, branch {self._app.branch}",
                hint=Hint(HintKind.LIST_COMMITS, self._app.branch),
            )
        return found

    def describe(self, commit: str) -> CommitInfo:
        """Return the author and the subject of a commit."""
        author, _, subject = self._read(self._git.describe(commit)).partition("\0")
        return CommitInfo(author.strip()[:200], subject.strip()[:200])

    def has_changes(self, base: str, commit: str) -> bool:
        """Return True if a commit differs from `base` in one of the app's paths, or if git cannot compare them.

        The mirror may lack `base` after it was made anew.
        """
        paths = self._app.paths
        if not paths.include and not paths.exclude:
            return True
        try:
            self._read(self._git.compare(base, commit, paths))
        except CommandFailed:
            return True
        return False

    def list_tree(self, commit: str) -> list[TreeEntry]:
        """List every path of a commit. Raises CommitRefused for a path that is not UTF-8."""
        try:
            raw = self._read_bytes(self._git.list_tree(commit)).decode("utf-8")
        except UnicodeDecodeError:
            raise CommitRefused("the commit holds a file name that is not UTF-8") from None
        entries = [_parse_entry(row) for row in raw.split("\0") if row]
        too_deep = next((entry.path for entry in entries if entry.path.count("/") > _MAX_DEPTH), None)
        if too_deep is not None:
            raise CommitRefused(f"the commit holds a path of more than {_MAX_DEPTH} levels: {too_deep[:80]}…")
        return entries

    def write(self, commit: str, directory: Path) -> None:
        """Write every file of a commit below an empty directory."""
        index = self._mirror / "hookd-index"
        index.unlink(missing_ok=True)
        try:
            self._read(self._git.read_tree(commit, index))
            self._read(self._git.write_files(index, directory))
        finally:
            index.unlink(missing_ok=True)

    def _read(self, command: Command, *, may_fail: bool = False) -> str:
        return self._read_bytes(command, may_fail=may_fail).decode("utf-8", "replace")

    def _read_bytes(self, command: Command, *, may_fail: bool = False) -> bytes:
        """Run a git command under hookd's limits and return its output. Raises CommandFailed, unless it may fail."""
        lines, printed = LineSplitter(self._message), bytearray()
        started = _start(command, self._mirror.parent)  # GitPython kills the process when this object is deleted.
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
        if not _PROGRESS.search(text):
            self._line(text)


def _parse_entry(row: str) -> TreeEntry:
    """Read a row of `git ls-tree -l`: mode, type, id and size, then the path. A submodule has no size."""
    about, path = row.split("\t", 1)
    mode, _, _, size = about.split()
    return TreeEntry(mode=mode, size=int(size) if size.isdigit() else 0, path=path)


def _append_limited(printed: bytearray, data: bytes) -> None:
    """Collect output up to a limit: a few kilobytes of nested trees can describe a list of gigabytes."""
    printed.extend(data)
    if len(printed) > _MAX_LISTING_BYTES:
        raise CommitRefused(f"the list of the commit's files exceeds {_MAX_LISTING_BYTES // 1024**2} MiB")


def _start(command: Command, directory: Path) -> git.Git.AutoInterrupt:
    """Start git in a process group of its own. Raises DeployError without git.

    Only GitPython's process starter is used, because its other calls wait for git without limits of time and size.
    """
    try:
        return git.Git(str(directory)).execute(
            list(command.argv),
            as_process=True,
            env=dict(command.env),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    except GitCommandNotFound:
        raise DeployError("git is not installed", hint=Hint(HintKind.INSTALL_GIT)) from None
