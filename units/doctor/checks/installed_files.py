"""Comparison of the host with the plans of `hookd setup` and `hookd app`, and of hookd's code with its digest."""

from collections.abc import Iterator
from typing import Final

from hookd.model.app import App
from units.apps.plan import InitialContents, app_plan
from units.doctor.context import AS_ROOT, HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, warning
from units.host.install_code import version_of
from units.host.plan import ACCOUNTS, host_plan
from units.plan.manifest import Manifest
from units.plan.steps import File, Plan, Run
from units.render.app import app_files
from units.system import disk, facts, layout

_SETUP: Final = "sudo hookd setup"
_REINSTALL: Final = "sudo ./run install (in the checkout of hookd)"
# A restored backup can change hundreds of files.
_MAX_SHOWN: Final = 8


def check_host(context: HostContext) -> Iterator[Finding]:
    """Compare the host with the setup plan: accounts as any user, the rest as root."""
    yield from compare(ACCOUNTS)
    context.require_root("compare files with the setup plan")
    if not context.is_complete:
        raise CannotCheck("the setup plan needs valid files of all apps", AS_ROOT)
    plan = host_plan(facts.read_host(context.config), context.config.catalogue)
    yield from compare(tuple(step for step in plan if step not in ACCOUNTS))


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Compare an app's files with its plan. The plan is made from the app's file, which is not compared itself."""
    context.require_root("compare files with the app's plan")
    if not Manifest.load(layout.MANIFEST).of(layout.app_scope(app.name), "file"):
        yield ok(f"{app.name} was not installed by `hookd app`, its files were not compared")
        return
    files = app_files(app, facts.read_host(context.config))
    own = layout.app_file(app.name)
    plan = app_plan(app, "", InitialContents(""), files)
    yield from compare(tuple(step for step in plan if getattr(step, "path", None) != own))


def compare(plan: Plan) -> Iterator[Finding]:
    """Report each step of a plan whose result is not present."""
    missing = [step for step in plan if not isinstance(step, Run) and not step.is_present()]
    for step in missing[:_MAX_SHOWN]:
        is_text = isinstance(step, File) and step.existing == "correct" and disk.read(step.path) != step.text.encode()
        yield (warning if is_text else error)(step.mismatch(), _SETUP)
    if len(missing) > _MAX_SHOWN:
        yield error(f"{len(missing) - _MAX_SHOWN} more differences from the setup plan", f"{_SETUP} --dry-run")


def check_code(_context: HostContext) -> Iterator[Finding]:
    """Compare the installed code with the digest in its directory's name."""
    version = disk.read_link(layout.CURRENT)
    if version is None:
        yield error(f"{layout.CURRENT} is missing: no unit of hookd can start", _REINSTALL)
    elif disk.status(version / "complete") is None:
        yield error(f"the installation of {version} is incomplete", _REINSTALL)
    elif version_of(version / "code") != version.name:
        yield warning(f"code or Python of {version} changed after the installation", _REINSTALL)
    else:
        yield ok(f"the code is unchanged since its installation: {version.name}")
