"""Everything that set-up and `hookd app` put on this host stands as they would put it there now."""

from collections.abc import Iterator
from typing import Final

from hookd.model.app import App
from units.apps.plan import InitialContents, app_plan
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, ok, warning
from units.host.plan import host_plan
from units.plan.manifest import Manifest
from units.plan.steps import File, Group, Plan, Run, User
from units.render.app import app_files
from units.system import facts, layout

GOOD: Final = "files, directories and links stand as set-up would write them"
# One cause, a restored backup say, can bring hundreds.
_MAX_SHOWN: Final = 8


def check_host(subject: HostContext) -> Iterator[Finding]:
    """Compare the host with the plan of `hookd setup`."""
    _need_root(subject)
    if not subject.whole:
        raise CannotCheck(
            "what set-up would write depends on the apps' files, one of which cannot be used", "mend it first"
        )
    plan = host_plan(facts.read_host(subject.config), subject.config.catalogue)
    yield from compare(plan, "sudo hookd setup")


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Compare what belongs to an app with the plan of `hookd app`; its own file in the catalogue is what counts."""
    _need_root(subject)
    if not Manifest.load(layout.MANIFEST).of(layout.app_scope(app.name), "file"):
        yield ok(f"{app.name} was not brought by `hookd app`: what belongs to it is not compared")
        return
    files = app_files(app, facts.read_host(subject.config))
    own = layout.app_file(app.name)
    plan = tuple(step for step in app_plan(app, "", InitialContents(""), files) if getattr(step, "path", None) != own)
    yield from compare(plan, "sudo hookd setup")


def _need_root(subject: HostContext) -> None:
    if not subject.is_root:
        raise CannotCheck("only root can compare this host with what set-up makes", "sudo hookd doctor")


def compare(plan: Plan, mend: str) -> Iterator[Finding]:
    """Name the steps that are not present, without accounts and commands. Accounts have a check of their own."""
    wrong = [step for step in plan if not isinstance(step, Run | Group | User) and not step.is_present()]
    for step in wrong[:_MAX_SHOWN]:
        finding = warning if isinstance(step, File) and step.existing == "correct" else error
        yield finding(step.mismatch(), mend)
    if len(wrong) > _MAX_SHOWN:
        yield error(f"{len(wrong) - _MAX_SHOWN} more things are not as set-up makes them", f"{mend} --dry-run")
