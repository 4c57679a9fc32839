"""Runs every check by itself and at the same time as the others; whatever happens in one becomes a finding."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hookd.credentials import PasswordUnreadable
from hookd.model.app import App
from units.doctor.checks import (
    accounts,
    clock,
    code,
    disk_space,
    endpoints,
    file_modes,
    freezes,
    git,
    installed_files,
    nginx,
    permissions,
    queue,
    redis,
    services,
    sudo,
    versions,
)
from units.doctor.context import HostContext, read_context
from units.doctor.finding import CannotCheck, Finding, error, ok, unknown
from units.doctor.report import Report
from units.system.disk import UnsafePath

# Every wait inside a check has its own, shorter end; this one bounds hosts with very many apps.
_TOTAL_SECONDS: Final = 20
_THREADS: Final = 16
_AS_ROOT: Final = "sudo hookd doctor"

HostCheck = Callable[[HostContext], Iterator[Finding]]
AppCheck = Callable[[HostContext, App], Iterator[Finding]]

HOST_CHECKS: Final[tuple[tuple[str, HostCheck, str], ...]] = (
    ("services", services.check, services.GOOD),
    ("answers", endpoints.check, ""),
    ("redis", redis.check, redis.GOOD),
    ("queue", queue.check, queue.GOOD),
    ("nginx", nginx.check, nginx.GOOD),
    ("accounts", accounts.check, accounts.GOOD),
    ("set-up", installed_files.check_host, installed_files.GOOD),
    ("files", file_modes.check, file_modes.GOOD),
    ("code", code.check, ""),
    ("sudo", sudo.check, sudo.GOOD),
    ("space", disk_space.check, ""),
    ("clock", clock.check, clock.GOOD),
    ("versions", versions.check, versions.GOOD),
)
APP_CHECKS: Final[tuple[tuple[str, AppCheck, str], ...]] = (
    ("services", services.check_app, services.GOOD_APP),
    ("answers", endpoints.check_app, ""),
    ("git", git.check_app, ""),
    ("deployments", queue.check_app, ""),
    ("frozen", freezes.check_app, ""),
    ("set-up", installed_files.check_app, installed_files.GOOD),
    ("permissions", permissions.check_app, permissions.GOOD),
    ("files", file_modes.check_app, file_modes.GOOD_APP),
    ("sudo", sudo.check_app, sudo.GOOD_APP),
    ("space", disk_space.check_app, ""),
)


@dataclass(frozen=True)
class CheckRun:
    """One check with what it looks at; `good` is what is said when it finds nothing."""

    check: str
    app: str | None
    look: Callable[[], Iterable[Finding]]
    good: str


def doctor(path: Path, only: str | None = None) -> Report:
    """Look at everything on this host, or at the host and one app; nothing is changed, and nothing is raised.

    It ends after about 20 s, whatever does not answer.
    """
    began: list[HostContext] = []

    def begin() -> Iterator[Finding]:
        subject, problems = read_context(path, only)
        began.append(subject)
        yield from problems
        if only is not None and not subject.apps:
            yield unknown(
                f"there is no app {only!r} in the catalogue, or its file cannot be used", "sudo hookd app list"
            )

    first = run_isolated(CheckRun("configuration", None, begin, f"{path} and the catalogue can be used"))
    return Report(
        datetime.now(UTC), (*first, *(finding for subject in began for finding in _run_all(_all_runs(subject))))
    )


def _all_runs(subject: HostContext) -> list[CheckRun]:
    host = [CheckRun(name, None, _bind(check, subject), good) for name, check, good in HOST_CHECKS]
    apps = [
        CheckRun(name, app.name, _bind(check, subject, app), good)
        for app in subject.apps
        for name, check, good in APP_CHECKS
    ]
    return [*host, *apps]


def _bind(check: Callable[..., Iterator[Finding]], *arguments: object) -> Callable[[], Iterator[Finding]]:
    return lambda: check(*arguments)


def _run_all(tasks: list[CheckRun]) -> list[Finding]:
    """Run the checks side by side, and return what they found in the order of the checks."""
    pool = ThreadPoolExecutor(_THREADS)
    running = [(task, pool.submit(run_isolated, task)) for task in tasks]
    wait([future for _, future in running], timeout=_TOTAL_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return [finding for task, future in running for finding in _result(task, future)]


def _result(task: CheckRun, future: Future[list[Finding]]) -> list[Finding]:
    if future.done() and not future.cancelled():
        return future.result()
    late = unknown(f"this took longer than {_TOTAL_SECONDS} s", "hookd doctor APP looks at one app")
    return [replace(late, check=task.check, app=task.app)]


def run_isolated(task: CheckRun) -> list[Finding]:
    """Run one check to its end or to where it breaks; the one place where the unexpected becomes a finding."""
    seen: list[Finding] = []
    try:
        seen.extend(task.look())
    except CannotCheck as hidden:
        seen.append(unknown(str(hidden), hidden.hint))
    except (PermissionError, PasswordUnreadable) as closed:
        # A part of a path tells nobody anything.
        name = str(getattr(closed, "filename", None) or "")
        seen.append(unknown(f"{name if name.startswith('/') else 'some of it'} is closed to you", _AS_ROOT))
    except UnsafePath as unsafe:
        seen.append(error(f"root does not go there: {unsafe}", f"sudo namei -lx {str(unsafe).split(': ', 1)[0]}"))
    except Exception as broken:
        what = f"this check itself broke: {type(broken).__name__}: {broken}"
        seen.append(unknown(what, "please report it, with the output of: sudo hookd doctor --json"))
    if not seen and task.good:
        seen.append(ok(task.good))
    return [replace(finding, check=task.check, app=task.app) for finding in seen]
