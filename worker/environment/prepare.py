"""The app's virtual environment: built by uv at its final path, and reused while its content stays the same."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from hookd.files.build_owner import COMPLETE_MARK
from hookd.files.ownership.policies import Policy, environment_policy
from hookd.model.hint import Hint, HintKind
from worker.context import Task
from worker.environment.base import find_base, find_link, link_environment
from worker.environment.commands import CONSTRAINTS, PACKAGES, VenvCommands
from worker.environment.python import choose_python, default_python
from worker.environment.server import GUNICORN, describe_addition, missing_packages, missing_setuptools
from worker.environment.source import LOCK_HINTS, Source, read_source
from worker.environment.ssh import ssh_access
from worker.errors import CommandFailed, DeployError, Killed, TimedOut
from worker.phase.environment import install_environment
from worker.phase.phases import run_build
from worker.process.run import remove_tree
from worker.release.disk_space import check_remaining_space, flush
from worker.release.ownership import enforce

# A package that would replace a shared file, for example.
_SYSTEM_ERROR: Final = re.compile(r"\(os error \d+\)|cannot be linked")
# Part of each key, for a change of hookd that changes the content.
_FORMAT: Final = "2"


def find_uv(task: Task) -> Path:
    """Return the uv of the settings, the one beside hookd, or the one on the PATH. Raises DeployError without one."""
    beside = Path(sys.prefix) / "bin" / "uv"
    found = task.settings.worker.uv or (beside if beside.exists() else shutil.which("uv"))
    if found is None:
        raise DeployError("uv is not installed", hint=Hint(HintKind.INSTALL_UV))
    return Path(found)


def prepare_venv(task: Task, release: Path, policy: Policy) -> Path:
    """Return the environment that a release needs, link to it, and build it if there is none. Raises DeployError."""
    source = read_source(release, task.app.directory_in(release), task.app.dependencies)
    uv = find_uv(task)
    python = choose_python(task, uv, list(source.wanted))
    family = _family(task, source, python)
    venv = _place(task, _digest(_own_parts(task, source, family)))
    (release / "venv").symlink_to(os.path.relpath(venv, release))
    if venv.exists():
        enforce(venv, environment_policy(policy))
        if (venv / COMPLETE_MARK).exists():
            task.recorder.line(f"the environment {venv.name} fits and is used again")
            os.utime(venv / COMPLETE_MARK)  # Retention keeps the newest.
            return venv
    variables, files = ssh_access(task, source)
    env = {**install_environment(task), **_named_variables(task, source), **variables}
    commands = VenvCommands(
        uv, python, default_python(task), venv, task.app, source, env, files, is_fresh=task.deployment.fresh
    )
    _build(task, release, commands, family)
    enforce(venv, environment_policy(policy))  # A later environment may share its files from now on.
    flush(task, venv)  # After a power cut the mark must not exist without the files.
    check_remaining_space(task)
    mark_complete(venv, family)
    return venv


def _place(task: Task, key: str) -> Path:
    """Return the path of an environment: `KEY`, and `KEY.2` and so on for those that were built anew."""
    # access() is False, too, for one that somebody closed. `enforce` names its fault.
    found = [path for path in task.paths.venvs.glob(f"{key}*") if os.access(path / COMPLETE_MARK, os.F_OK)]
    newest = max(map(_generation, found), default=0)
    number = newest + 1 if task.deployment.fresh else max(newest, 1)
    return task.paths.venvs / (key if number == 1 else f"{key}.{number}")


def _generation(venv: Path) -> int:
    number = venv.name.partition(".")[2]
    return int(number) if number.isdigit() else 1


def _family(task: Task, source: Source, python: Path) -> str:
    """Return a hash of what decides which file a package version brings: environments of a family share files."""
    real = python.resolve()
    options = [line for line in source.packages.lines if line.startswith("--")]
    return _digest(
        [
            _FORMAT,
            f"{real} {real.stat().st_mtime_ns}",
            str(task.app.dependencies.allow_build),
            *(f"{name}={value}" for name, value in sorted(task.app.dependencies.environment.items())),
            *options,
            *source.packages.options,
            *source.settings,
        ]
    )


def _own_parts(task: Task, source: Source, family: str) -> list[str | bytes]:
    """Return all that decides the content of an environment.

    A package of the commit itself is installed as a copy. So the commit is a part then, and the code that serves is
    always the release's.
    """
    wants = task.app.dependencies
    commit = task.deployment.commit or "" if source.is_local else ""
    server = f"{task.app.runs_gunicorn} {wants.gunicorn} {GUNICORN} {task.app.service.worker_class}"
    variables = (f"{name}={value}" for name, value in sorted(_named_variables(task, source).items()))
    return [family, source.kind, *source.texts, *wants.extras, "groups", *wants.groups, server, commit, *variables]


def _digest(parts: Iterable[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:24]


def _named_variables(task: Task, source: Source) -> dict[str, str]:
    """Return the values of `${NAME}` in requirements files. Raises DeployError for a name without one."""
    known = {**task.build_variables, **task.app.dependencies.environment}
    names = sorted(source.packages.variables)
    for name in names:
        if name not in known:
            hint = Hint(HintKind.SET_BUILD_VARIABLE, name)
            raise DeployError(f"{source.name} needs ${{{name}}}, which has no value", hint=hint)
    return {name: known[name] for name in names}


def mark_complete(venv: Path, family: str) -> None:
    """Create the mark, and follow no link that a build left there. Raises DeployError.

    An environment with a link in the place of its own directories gets none.
    """
    if link := find_link(venv):
        raise DeployError(f"the build left a link at {link.relative_to(venv)} in its environment")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(venv / COMPLETE_MARK, flags, 0o444), "w") as mark:
            mark.write(family)
    except FileExistsError:
        raise DeployError(f"the build left {COMPLETE_MARK} in its environment") from None


def _build(task: Task, release: Path, commands: VenvCommands, family: str) -> None:
    """Build an environment from the newest of its family, or from nothing if that fails. Raises DeployError."""
    base = None if commands.is_fresh or commands.source.kind == "none" else find_base(task.paths.venvs, family)
    if base is not None:
        linked = replace(commands, is_linked=True)
        failure = _attempt(lambda: _install(task, release, linked, base))
        if failure is None:
            return
        if not any(_SYSTEM_ERROR.search(line) for line in (failure.cause, *failure.lines)):
            raise failure
        task.recorder.line(f"the environment is built from nothing, because a difference failed: {failure.cause}")
    _install(task, release, commands, None)


def _attempt(step: Callable[[], None]) -> CommandFailed | None:
    """Run a step, and return its failure. Raises TimedOut and Killed, which prove nothing about the step."""
    try:
        step()
    except (TimedOut, Killed):
        raise
    except CommandFailed as error:
        return error
    return None


def _install(task: Task, release: Path, commands: VenvCommands, base: Path | None) -> None:
    _start(commands, base)
    try:
        create = [] if base else [commands.create()]
        run_build(task, release, [*create, *commands.install()])
        _install_project(task, release, commands)
        if added := missing_packages(task.app, commands.venv):
            task.recorder.line(describe_addition(commands.venv, added))
            run_build(task, release, [commands.add(added)])
        _add_setuptools(task, release, commands)
    except CommandFailed as error:
        _name_source(error, commands.source)
        raise


def _add_setuptools(task: Task, release: Path, commands: VenvCommands) -> None:
    """Add setuptools as an old Python had it. An index without it is no reason to fail, since few apps need it."""
    added = missing_setuptools(commands.source.kind, commands.venv)
    if not added:
        return
    if failure := _attempt(lambda: run_build(task, release, [commands.add(added)])):
        why = failure.reason or failure.cause
        task.recorder.line(f"warning: {added[0]} is not added, which older Pythons had: {why}")


def _start(commands: VenvCommands, base: Path | None) -> None:
    """Make the directory of an environment, with the files of another one and the list for uv. Raises CommandFailed."""
    venv, packages = commands.venv, commands.source.packages
    if venv.exists():
        remove_tree(venv)  # An earlier deployment was killed while it built this environment.
    venv.mkdir(parents=True)
    try:
        if base is not None:
            link_environment(base, venv)
    except OSError as error:
        raise CommandFailed(f"{base} cannot be linked: {error.strerror}") from None
    if commands.source.kind in ("list", "hashed", "locked"):
        (venv / PACKAGES).write_text("".join(f"{line}\n" for line in packages.lines))
    if packages.constraints:
        (venv / CONSTRAINTS).write_text("".join(f"{line}\n" for line in packages.constraints))


def _install_project(task: Task, release: Path, commands: VenvCommands) -> None:
    """Install the project itself. One that lies beside the app's code is imported from there if that fails."""
    source = commands.source
    if source.project is None:
        return
    failure = _attempt(lambda: run_build(task, release, [commands.install_project()]))
    if failure is None:
        return
    if source.must_install:
        raise failure
    task.recorder.line(f"warning: the project is not installed as a package: {failure.reason or failure.cause}")


def _name_source(error: CommandFailed, source: Source) -> None:
    """Name the list of packages in the error of an installation. One without a remedy gets that of its lock."""
    error.cause = f"the dependencies of {source.name} cannot be installed: {error.reason or error.cause}"
    error.args = (error.cause,)
    error.hint = error.hint or LOCK_HINTS.get(source.name)
