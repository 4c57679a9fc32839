"""Every program that hookd starts, as an argument vector; this module cannot run anything.

An option and its value stand on one line. Whatever is not hookd's own text comes after `--` or `--end-of-options`.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hookd.contract.catalogue import App, Limits, Paths, Service
from hookd.contract.privilege import SUDO, SYSTEMCTL, Verb

_SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
UNIT_PROPERTIES: Final = ("LoadState", "ActiveState", "ExecMainStartTimestamp", "StatusText")


@dataclass(frozen=True)
class Command:
    """A program to run: `total` and `silence` are its limits in seconds; the environment is exactly `env`."""

    argv: tuple[str, ...]
    total: float
    silence: float
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def program(self) -> str:
        """The program's name, for people."""
        return Path(self.argv[0]).name


@dataclass(frozen=True)
class Git:
    """Builds git's commands for one bare mirror."""

    mirror: Path
    seconds: float
    env: Mapping[str, str] = field(repr=False)

    def _command(self, *arguments: str, **extra: str) -> Command:
        argv = ("git", f"--git-dir={self.mirror}", *arguments)
        return Command(argv, self.seconds, self.seconds, env={**self.env, **extra})

    def init(self, object_format: str) -> Command:
        """Make the mirror, for SHA-1 or SHA-256 object ids."""
        argv = (
            "git",
            "init",
            "--quiet",
            "--bare",
            f"--object-format={object_format}",
            "--template=",
            "--",
            str(self.mirror),
        )
        return Command(argv, self.seconds, self.seconds, env=self.env)

    def object_format(self) -> Command:
        """Name the kind of object ids the mirror holds: sha1 or sha256."""
        return self._command("rev-parse", "--show-object-format")

    def ask_remote(self, url: str, branch: str) -> Command:
        """Ask where the branch points, without fetching."""
        argv = ("git", "ls-remote", "--end-of-options", url, f"refs/heads/{branch}")
        return Command(argv, self.seconds, self.seconds, env=self.env)

    def fetch(self, url: str, branch: str) -> Command:
        """Bring the branch's commits into the mirror; a rewritten branch is followed."""
        spec = f"+refs/heads/{branch}:refs/hookd/head"
        return self._command(
            "fetch", "--no-tags", "--no-write-fetch-head", "--force", "--progress", "--end-of-options", url, spec
        )

    def head(self) -> Command:
        """Name the commit that the last fetch found."""
        return self.resolve("refs/hookd/head")

    def resolve(self, name: str) -> Command:
        """Turn a name or an abbreviation into a full object id."""
        return self._command("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")

    def count(self, base: str, commit: str) -> Command:
        """Print how many commits only `base` has, and how many only the other one."""
        return self._command("rev-list", "--count", "--left-right", "--end-of-options", f"{base}...{commit}")

    def describe(self, commit: str) -> Command:
        """Print author and subject, separated by a zero byte."""
        return self._command("log", "-1", "--format=%an%x00%s", "--no-show-signature", "--end-of-options", commit)

    def compare(self, base: str, commit: str, paths: Paths) -> Command:
        """End with status 1 when one of the app's paths differs between two commits, with 0 when none does.

        Trees are compared, not their histories, and a file that moved is one that went and one that came.
        """
        include = [f":(top,glob){pattern}" for pattern in paths.include] or [":(top)"]
        exclude = [f":(top,glob,exclude){pattern}" for pattern in paths.exclude]
        options = ("-r", "--quiet", "--no-renames", "--end-of-options")
        return self._command("diff-tree", *options, base, commit, "--", *include, *exclude)

    def list_tree(self, commit: str) -> Command:
        """Print mode, type, id, size and path of every file of a commit."""
        return self._command("ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit)

    def read_tree(self, commit: str, index: Path) -> Command:
        """Read a commit's file list into an index of its own."""
        return self._command("read-tree", "--end-of-options", commit, GIT_INDEX_FILE=str(index))

    def write_files(self, index: Path, directory: Path) -> Command:
        """Write every file of that index below a directory; runs no hook and no filter of the repository's."""
        argv = ("git", "-C", str(directory), f"--git-dir={self.mirror}", f"--work-tree={directory}")
        env = {**self.env, "GIT_INDEX_FILE": str(index)}
        return Command((*argv, "checkout-index", "--all", "--force"), self.seconds, self.seconds, env=env)


@dataclass(frozen=True)
class Install:
    """Builds the commands that make a virtual environment; `tool` is uv, or None for Python's own venv and pip."""

    tool: Path | None
    python: Path
    venv: Path
    cwd: Path
    limits: Limits
    env: Mapping[str, str] = field(repr=False)
    allow_build: bool = False

    def _command(self, *argv: str, **extra: str) -> Command:
        return Command(argv, self.limits.step_seconds, self.limits.silence_seconds, self.cwd, {**self.env, **extra})

    @property
    def _no_build(self) -> tuple[str, ...]:
        if self.allow_build:
            return ()
        return ("--no-build",) if self.tool else ("--only-binary", ":all:")

    def create(self) -> Command:
        """Make the empty environment at its final path: a venv does not survive a move."""
        if self.tool:
            return self._command(str(self.tool), "venv", "--quiet", "--python", str(self.python), "--", str(self.venv))
        return self._command(str(self.python), "-m", "venv", "--", str(self.venv))

    def requirements(self, file: Path, *, hashed: bool) -> Command:
        """Install from a requirements file; with hashes exactly what it names and nothing else."""
        hashes = ("--require-hashes",) if hashed else ()
        if self.tool and hashed:
            return self._uv_pip("sync", *hashes, str(file))
        if self.tool:
            return self._uv_pip("install", "-r", str(file))
        return self._pip(*hashes, "-r", str(file))

    def project(self, requirements: tuple[str, ...], file: Path) -> Command:
        """Install what a pyproject.toml depends on, not the project itself."""
        if self.tool:
            return self._uv_pip("install", "-r", str(file))
        return self._pip("--", *requirements)

    def lock(self) -> Command:
        """Install exactly what uv.lock says, not the project itself; refuses a lock that does not fit the project."""
        return self._command(
            str(self.tool), "sync", "--locked", "--no-install-project", "--no-dev", *self._no_build,
            UV_PROJECT_ENVIRONMENT=str(self.venv),
        )  # fmt: skip

    def _uv_pip(self, verb: str, *arguments: str) -> Command:
        python = str(self.venv / "bin" / "python")
        return self._command(str(self.tool), "pip", verb, "--python", python, *self._no_build, *arguments)

    def _pip(self, *arguments: str) -> Command:
        python = str(self.venv / "bin" / "python")
        return self._command(python, "-m", "pip", "install", "--no-input", *self._no_build, *arguments)


def in_release(argv: tuple[str, ...], release: Path, env: Mapping[str, str], limits: Limits) -> Command:
    """A command of the app's own, run in its release."""
    return Command(argv, limits.step_seconds, limits.silence_seconds, release, env)


def preflight(app: App, release: Path, env: Mapping[str, str]) -> Command | None:
    """The command that proves that the release can start; None when the app's config says so."""
    argv = app.service.preflight
    if argv is None:
        argv = ("gunicorn", "--check-config", app.service.entry)
    return in_release(argv, release, env, app.limits) if argv else None


def remove(tree: Path) -> Command:
    """Remove a tree and all below it, on its own file system."""
    argv = ("rm", "-rf", "--one-file-system", "--", str(tree))
    return Command(argv, 300, 300, env={"PATH": _SYSTEM_PATH})


def flush(directory: Path) -> Command:
    """Write the file system of a directory to disk, so that a power cut after the switch finds whole files."""
    return Command(("sync", "--file-system", str(directory)), 300, 300, env={"PATH": "/usr/bin:/bin"})


def processes(service: Service, name: str, limits: Limits) -> Command:
    """Print which processes a unit or watcher has now; asks for no privilege."""
    if service.manager == "systemd":
        argv: tuple[str, ...] = (SYSTEMCTL, "show", "--property=MainPID", "--property=NRestarts", f"{name}.service")
    else:
        argv = (*_circusctl(service), "list", name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


def standing(units: tuple[str, ...], limits: Limits) -> Command:
    """Print how systemd's units stand, since when their processes run, and what these say of themselves."""
    properties = (f"--property={name}" for name in ("Id", *UNIT_PROPERTIES))
    argv = (SYSTEMCTL, "show", "--timestamp=us+utc", *properties, "--", *units)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


def known(service: Service, name: str, limits: Limits) -> Command:
    """Succeed when the process manager answers and knows the service; asks for no privilege."""
    if service.manager == "systemd":
        argv: tuple[str, ...] = (SYSTEMCTL, "cat", f"{name}.service")
    else:
        argv = (*_circusctl(service), "status", name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})


def _circusctl(service: Service) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "circus.circusctl", "--endpoint", str(service.endpoint))


def service(service: Service, verb: Verb, name: str, limits: Limits) -> Command:
    """Start, stop or restart one unit or watcher and wait for it."""
    if service.manager == "systemd":
        argv: tuple[str, ...] = (SUDO, "-n", SYSTEMCTL, verb, f"{name}.service")
    else:
        # circusctl itself gives up after 5 s, also on a service that lets a request of 6 s end.
        argv = (*_circusctl(service), "--timeout", str(math.ceil(limits.step_seconds)), verb, "--waiting", name)
    return Command(argv, limits.step_seconds, limits.silence_seconds, env={"PATH": _SYSTEM_PATH})
