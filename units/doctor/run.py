"""Runs all checks side by side. An exception in a check becomes a finding of that check."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from hookd.credentials import PasswordUnreadable
from hookd.model.app import App
from units.doctor.checks import (
    accounts,
    disk_space,
    endpoints,
    file_modes,
    git,
    installed_files,
    queue,
    redis,
    services,
    sudo,
    system,
)
from units.doctor.context import AS_ROOT, HostContext, read_context
from units.doctor.finding import CannotCheck, Finding, error, ok, unknown
from units.doctor.report import Report
from units.system.disk import UnsafePath

# Every check has shorter limits of its own. This one bounds hosts with very many apps.
_TOTAL_SECONDS: Final = 20
_THREADS: Final = 16

HostCheck = Callable[[HostContext], Iterator[Finding]]
AppCheck = Callable[[HostContext, App], Iterator[Finding]]

# Each row: the name, the check, and the message if it finds nothing.
HOST_CHECKS: Final[tuple[tuple[str, HostCheck, str], ...]] = (
    ("services", services.check, "all units run and start at boot"),
    ("answers", endpoints.check, ""),
    ("redis", redis.check, ""),
    ("queue", queue.check, "all workers are connected, the queue is not suspended"),
    ("nginx", endpoints.check_nginx, "nginx runs and passes pushes of every allowed size"),
    ("accounts", accounts.check, "no user can log in or has excess groups"),
    ("set-up", installed_files.check_host, "users, files and directories match the setup plan"),
    ("files", file_modes.check, "only root can change hookd's code and configuration"),
    ("code", installed_files.check_code, ""),
    ("sudo", sudo.check, "the worker has no right beyond its apps"),
    ("space", disk_space.check, ""),
    ("clock", system.check_clock, "no file is from the future"),
    ("versions", system.check_versions, "systemd, git and sudo are new enough"),
)
APP_CHECKS: Final[tuple[tuple[str, AppCheck, str], ...]] = (
    ("services", services.check_app, "all units run and start at boot"),
    ("answers", endpoints.check_app, ""),
    ("git", git.check_app, ""),
    ("deployments", queue.check_app, ""),
    ("frozen", queue.check_freeze, ""),
    ("set-up", installed_files.check_app, "files and directories match the app's plan"),
    ("permissions", file_modes.check_permissions, "owners and modes match the policy"),
    ("files", file_modes.check_app, "secret and deploy key are present and closed"),
    ("sudo", sudo.check_app, "the worker has exactly the rights of a deployment"),
    ("space", disk_space.check_app, ""),
)


@dataclass(frozen=True)
class CheckRun:
    """One check with its input. `ok_message` is reported if it finds nothing."""

    check: str
    app: str | None
    run: Callable[[], Iterable[Finding]]
    ok_message: str


def run_doctor(path: Path, only: str | None = None) -> Report:
    """Check the host and all apps, or the host and one app. Ends after about 20 s and raises nothing."""
    contexts: list[HostContext] = []

    def check_configuration() -> Iterator[Finding]:
        context, findings = read_context(path, only)
        contexts.append(context)
        yield from findings
        if only is not None and not context.apps:
            yield unknown(f"there is no app {only!r} with a valid file", "sudo hookd app list")

    first = run_isolated(CheckRun("configuration", None, check_configuration, f"{path} and all app files are valid"))
    others = (finding for context in contexts for finding in _run_all(_all_runs(context)))
    return Report(datetime.now(UTC), (*first, *others))


def _all_runs(context: HostContext) -> list[CheckRun]:
    host = [CheckRun(name, None, partial(check, context), message) for name, check, message in HOST_CHECKS]
    apps = [
        CheckRun(name, app.name, partial(check, context, app), message)
        for app in context.apps
        for name, check, message in APP_CHECKS
    ]
    return [*host, *apps]


def _run_all(runs: list[CheckRun]) -> list[Finding]:
    """Run the checks in threads. Return their findings in the order of `runs`."""
    pool = ThreadPoolExecutor(_THREADS)
    running = [(run, pool.submit(run_isolated, run)) for run in runs]
    wait([future for _, future in running], timeout=_TOTAL_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return [finding for run, future in running for finding in _result(run, future)]


def _result(run: CheckRun, future: Future[list[Finding]]) -> list[Finding]:
    if future.done() and not future.cancelled():
        return future.result()
    late = unknown(f"this check took longer than {_TOTAL_SECONDS} s", "sudo hookd doctor APP")
    return [replace(late, check=run.check, app=run.app)]


def run_isolated(run: CheckRun) -> list[Finding]:
    """Run one check. Convert its exception to a finding and keep the findings before it."""
    found: list[Finding] = []
    try:
        found.extend(run.run())
    except CannotCheck as failure:
        found.append(unknown(str(failure), failure.hint))
    except (PermissionError, PasswordUnreadable) as denied:
        name = str(getattr(denied, "filename", None) or "")  # Only part of a path if it was opened stepwise.
        found.append(unknown(f"you may not read {name if name.startswith('/') else 'all of it'}", AS_ROOT))
    except UnsafePath as unsafe:
        found.append(error(f"unsafe path for root: {unsafe}", f"sudo namei -lx {str(unsafe).split(': ', 1)[0]}"))
    except Exception as failure:
        message = f"this check failed: {type(failure).__name__}: {failure}"
        found.append(unknown(message, "sudo hookd doctor --json (and report its output to hookd's authors)"))
    if not found and run.ok_message:
        found.append(ok(run.ok_message))
    return [replace(finding, check=run.check, app=run.app) for finding in found]
