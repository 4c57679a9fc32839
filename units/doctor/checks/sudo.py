"""sudo lets the worker do what its apps need and nothing else, asked of sudo itself; nothing is run by it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.sudo import SUDO, SYSTEMCTL, sudo_commands
from units.apps.git_access import as_worker
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, unknown
from units.system import layout
from units.system.run import CommandFailed, run, succeeds

GOOD: Final = "the worker may do nothing as root but what its apps need"
GOOD_APP: Final = "the worker may do as root what a deployment needs, and no more"
_SECONDS: Final = 5
_FORBIDDEN: Final = (
    ("/bin/sh",),
    (SYSTEMCTL, "restart", "ssh.service"),
    (SYSTEMCTL, "stop", "hookd.service"),
    (SYSTEMCTL, "daemon-reload"),
    (SYSTEMCTL, "edit", "hookd.service"),
)


def check(subject: HostContext) -> Iterator[Finding]:
    """Ask whether sudo's files are sound and what the worker must not do is refused."""
    _need_root(subject)
    if not Path(SUDO).exists():
        yield error(f"{SUDO} is missing: no deployment can restart its app", "sudo apt-get install sudo")
        return
    try:
        run(("visudo", "-c"), seconds=_SECONDS)
    except CommandFailed as failed:
        yield error(f"sudo's files have a mistake, and sudo may refuse everything: {failed.output}", "sudo visudo -c")
    for argv in _FORBIDDEN:
        if is_allowed(argv):
            yield _forbidden_finding(argv)
    yield from _check_workers(subject)


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Ask for each command of an app's deployment, and for some that are almost the same."""
    _need_root(subject)
    rights = sudo_commands(app)
    for argv in rights:
        if not is_allowed(argv):
            what = f"the worker may not run `sudo {' '.join(argv)}`, and a deployment of {app.name} fails"
            yield error(what, "sudo hookd setup")
    for argv in _near_misses(app, rights):
        if is_allowed(argv):
            yield _forbidden_finding(argv)


def is_allowed(argv: tuple[str, ...]) -> bool:
    """Ask sudo, as the worker, whether it would run a command; `-l` lists and runs nothing."""
    return succeeds(as_worker(SUDO, "-n", "-l", "--", *argv), seconds=_SECONDS)


def _need_root(subject: HostContext) -> None:
    if not subject.is_root:
        raise CannotCheck("only root can ask sudo what the worker may do", "sudo hookd doctor")


def _forbidden_finding(argv: tuple[str, ...]) -> Finding:
    what = f"the worker may run `sudo {' '.join(argv)}`, and with it whoever may push to an app"
    return error(what, f"sudo -l -U {layout.WORKER}, then take the line out: sudo visudo -f /etc/sudoers.d/FILE")


def _near_misses(app: App, rights: tuple[tuple[str, ...], ...]) -> Iterator[tuple[str, ...]]:
    """Commands one step beside those that are allowed."""
    for program, verb, unit in rights[:1]:
        yield (program, "edit", unit)
        yield (program, verb, unit, "ssh.service")
        yield (program, verb, "--now", unit)
    if app.service.handover == "restart" and rights:
        yield (SYSTEMCTL, "stop", rights[0][-1])


def _check_workers(subject: HostContext) -> Iterator[Finding]:
    """A worker that its unit forbids new privileges cannot use sudo, whatever sudo's files say."""
    for instance in layout.INSTANCES:
        name = layout.worker_unit(instance)
        process = subject.unit(name).process
        if not process:
            continue
        try:
            status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            yield unknown(f"the process of {name} ended while it was looked at", "sudo hookd doctor")
            continue
        if "NoNewPrivs:\t1" in status:
            what = f"{name} runs without the right to new privileges: sudo fails in it, and every handover with it"
            yield error(what, f"systemctl cat {name} shows the setting to remove, then: sudo systemctl restart {name}")
