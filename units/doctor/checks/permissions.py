"""Owners and modes of an app's files against its policy: counted here, shown one by one by `hookd permissions`."""

from collections.abc import Iterator
from typing import Final

from hookd.files.policies import OwnershipError
from hookd.model.app import App
from units.apps.permissions import check_permissions
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding, error, warning

GOOD: Final = "owners and modes are as its policy wants them"


def check_app(subject: HostContext, app: App) -> Iterator[Finding]:
    """Count what is not as the policy says, and show the first of it."""
    if not subject.is_root:
        raise CannotCheck(f"only root sees all files of {app.name}", "sudo hookd doctor")
    try:
        report = check_permissions(app, subject.settings, most=1)
    except OwnershipError as found:
        yield error(found.cause, found.hint or f"sudo hookd permissions {app.name}")
        return
    if report.left:
        number = "1 path is" if report.left == 1 else f"{report.left} paths are"
        first = report.places[0].findings[0]
        what = f"{number} against the policy {report.policy}, such as {first}"
        yield warning(what, f"sudo hookd permissions {app.name} --fix")
