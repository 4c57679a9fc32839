"""Runs all checks side by side. A check that ends with an exception gets a finding for it."""

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
    certificates,
    files,
    git,
    journal,
    processes,
    queue,
    redis,
    rights,
    separation,
    services,
    system,
    variables,
    written,
)
from units.doctor.context import AS_ROOT, HostContext, read_context
from units.doctor.finding import CannotCheck, Finding, error, ok, unknown
from units.doctor.report import Report
from units.system import layout
from units.system.disk import UnsafePath, inspect_command
from units.system.facts import missing_setup
from units.system.systemd import ABSENT

# Every check has shorter limits of its own. This one bounds hosts with very many apps.
_TOTAL_SECONDS: Final = 20
_THREADS: Final = 16

HostCheck = Callable[[HostContext], Iterator[Finding]]
AppCheck = Callable[[HostContext, App], Iterator[Finding]]

# Each row: the name, the check, and the message if it finds nothing.
HOST_CHECKS: Final[tuple[tuple[str, HostCheck, str], ...]] = (
    ("services", services.check, "all units run and start at boot"),
    ("answers", services.check_answers, ""),
    ("redis", redis.check, ""),
    ("queue", queue.check, "all workers are connected, the queue is not suspended"),
    ("nginx", services.check_nginx, "nginx runs and accepts its configuration"),
    ("certificates", certificates.check, "no certificate is missing"),
    ("accounts", rights.check_accounts, "no user can log in or has excess groups"),
    ("separation", separation.check, "each app has a user and a group of its own"),
    ("setup", files.check_setup, "users, files and directories match the setup"),
    ("files", files.check_access, "only root can change hookd's code and configuration"),
    ("code", files.check_code, ""),
    ("variables", variables.check, "each line of the worker's variables has one meaning"),
    ("sudo", rights.check_sudo, "the worker has no right beyond its apps"),
    ("space", system.check_space, ""),
    ("clock", system.check_clock, ""),
    ("versions", system.check_versions, "systemd, git and sudo are new enough"),
    ("kernel", system.check_kernel, "links in shared directories are protected"),
)
# These also run on a host without hookd.
_BARE_HOST_CHECKS: Final = ("clock", "versions", "kernel")
APP_CHECKS: Final[tuple[tuple[str, AppCheck, str], ...]] = (
    ("services", services.check_app, "all units run and start at boot"),
    ("answers", services.check_app_answers, ""),
    ("certificates", certificates.check_app, "no certificate is missing"),
    ("processes", processes.check_app, "processes and timers are well, none works in an old release"),
    ("git", git.check_app, ""),
    ("journal", journal.check_app, "each line of its journal is an event"),
    ("deployments", queue.check_app, ""),
    ("freeze", queue.check_freeze, ""),
    ("separation", separation.check_app, "all units run as the app's user"),
    ("setup", files.check_app_files, "files and directories match the app's setup"),
    ("permissions", files.check_permissions, "owners and modes match the policy"),
    ("files", files.check_app_access, "secret and deploy key are present and closed"),
    ("variables", variables.check_app, "each line of its variables has one meaning"),
    ("sudo", rights.check_app_sudo, "the worker has exactly the rights of a deployment"),
    ("space", system.check_app_space, ""),
    ("written", written.check_app, "no files were written into a release"),
)
# These need no setup. The others compare an app with the one of a server.
_ANYWHERE_APP_CHECKS: Final = (
    "services",
    "answers",
    "journal",
    "deployments",
    "freeze",
    "variables",
    "space",
    "written",
)


@dataclass(frozen=True)
class Check:
    """One check with its input. `ok_message` is reported if it finds nothing."""

    name: str
    run: Callable[[], Iterable[Finding]]
    ok_message: str
    app: str | None = None


def run_doctor(path: Path, only: str | None = None) -> Report:
    """Check the host and all apps, or the host and one app. Ends after about 20 s."""
    context, problems = read_context(path, only)
    missing = missing_setup() if path == layout.CONFIG else None
    if missing:
        problems = [error(str(missing), missing.hint or "")]
    checks = [Check("configuration", lambda: problems, f"{path} and all app files are valid")]
    if context.is_server:
        checks += [
            Check(name, partial(check, context), message)
            for name, check, message in HOST_CHECKS
            if not missing or name in _BARE_HOST_CHECKS
        ]
    else:
        checks.append(Check("server", tuple, f"{path} is not a server's, so only the apps were checked"))
    for app in context.apps:
        checks += [
            Check(name, partial(check, context, app), message, app.name)
            for name, check, message in APP_CHECKS
            if context.is_server or name in _ANYWHERE_APP_CHECKS
        ]
    return Report(datetime.now(UTC), tuple(_without_repetitions(run_checks(checks))))


def _without_repetitions(findings: list[Finding]) -> Iterator[Finding]:
    """Yield the absence of systemd only once."""
    was_absent = False
    for finding in findings:
        is_absent = finding.message == ABSENT
        if not (is_absent and was_absent):
            yield finding
        was_absent = was_absent or is_absent


def run_checks(checks: list[Check]) -> list[Finding]:
    """Run checks in threads. Return their findings in the order of `checks`."""
    pool = ThreadPoolExecutor(_THREADS)
    running: list[tuple[Check, list[Finding], Future[None]]] = []
    for check in checks:
        found: list[Finding] = []
        running.append((check, found, pool.submit(_collect, check, found)))
    wait([future for *_, future in running], timeout=_TOTAL_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return [finding for each in running for finding in _complete(*each)]


def _collect(check: Check, found: list[Finding]) -> None:
    """Run a check. `found` keeps the findings before an exception."""
    found.extend(check.run())


def _complete(check: Check, found: list[Finding], future: Future[None]) -> Iterator[Finding]:
    """Add the finding for a check that did not end well or found nothing."""
    if future.cancelled() or not future.done():
        found = [unknown(f"this check took longer than {_TOTAL_SECONDS} s", "sudo hookd doctor APP")]
    elif failure := future.exception():
        found.append(_explain(failure))
    elif not found and check.ok_message:
        found.append(ok(check.ok_message))
    for finding in found:
        yield replace(finding, check=check.name, app=check.app)


def _explain(failure: BaseException) -> Finding:
    """Return the finding for the exception that ended a check."""
    match failure:
        case CannotCheck():
            return unknown(str(failure), failure.hint)
        case PermissionError() | PasswordUnreadable():
            path = str(getattr(failure, "filename", None) or "")  # Only part of a path if it was opened stepwise.
            return unknown(f"you may not read {path if path.startswith('/') else 'all of it'}", AS_ROOT)
        case UnsafePath():
            return error(f"unsafe path for root: {failure}", inspect_command(failure.path))
    message = f"this check failed: {type(failure).__name__}: {failure}"
    return unknown(message, "sudo hookd doctor --json")
