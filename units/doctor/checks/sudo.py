"""Rights of the worker: sudo itself is asked, and runs nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.sudo import SUDO, SYSTEMCTL, sudo_commands
from units.apps.git_access import as_worker
from units.doctor.context import AS_ROOT, HostContext
from units.doctor.finding import Finding, error, unknown
from units.system import layout
from units.system.run import CommandFailed, run, succeeds

_SECONDS: Final = 5
_FORBIDDEN: Final = (
    ("/bin/sh",),
    (SYSTEMCTL, "restart", "ssh.service"),
    (SYSTEMCTL, "stop", "hookd.service"),
    (SYSTEMCTL, "daemon-reload"),
    (SYSTEMCTL, "edit", "hookd.service"),
)


def check(context: HostContext) -> Iterator[Finding]:
    """Check sudo's files, commands that must be refused, and the workers' privileges."""
    context.require_root("ask sudo for the worker's rights")
    if not Path(SUDO).exists():
        yield error(f"{SUDO} is missing: no deployment can restart its app", "sudo apt-get install sudo")
        return
    try:
        run(("visudo", "-c"), seconds=_SECONDS)
    except CommandFailed as failed:
        yield error(f"sudo rejects its configuration: {failed.output}", "sudo visudo -c")
    yield from _check_forbidden(_FORBIDDEN)
    yield from _check_workers(context)


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Check that sudo allows each command of a deployment and refuses similar ones."""
    context.require_root("ask sudo for the worker's rights")
    rights = sudo_commands(app)
    for argv in rights:
        if not is_allowed(argv):
            yield error(f"the worker may not run `sudo {' '.join(argv)}`", "sudo hookd setup")
    yield from _check_forbidden(_near_misses(app, rights))


def is_allowed(argv: tuple[str, ...]) -> bool:
    """Return True if sudo would run a command for the worker."""
    return succeeds(as_worker(SUDO, "-n", "-l", "--", *argv), seconds=_SECONDS)


def _check_forbidden(commands: tuple[tuple[str, ...], ...]) -> Iterator[Finding]:
    for argv in filter(is_allowed, commands):
        hint = f"sudo -l -U {layout.WORKER}, then remove the line: sudo visudo -f /etc/sudoers.d/FILE"
        yield error(f"the worker may run `sudo {' '.join(argv)}`", hint)


def _near_misses(app: App, rights: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Return commands that differ slightly from allowed ones."""
    if not rights:
        return ()
    program, verb, unit = rights[0]
    restart_only = ((SYSTEMCTL, "stop", unit),) if app.service.handover == "restart" else ()
    return (
        (program, "edit", unit),
        (program, verb, unit, "ssh.service"),
        (program, verb, "--now", unit),
        *restart_only,
    )


def _check_workers(context: HostContext) -> Iterator[Finding]:
    """Report workers without the privilege to use sudo."""
    for instance in layout.INSTANCES:
        name = layout.worker_unit(instance)
        process = context.unit(name).process
        if not process:
            continue
        try:
            status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            yield unknown(f"the process of {name} ended during the check", AS_ROOT)
            continue
        if "NoNewPrivs:\t1" in status:
            show = f"systemctl cat {name} (remove NoNewPrivileges=), then: sudo systemctl restart {name}"
            yield error(f"{name} runs with NoNewPrivileges: sudo fails", show)
