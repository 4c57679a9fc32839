"""Journals of the apps: each of their lines is an event that this version of hookd reads."""

from collections.abc import Iterator

from hookd.model.app import App
from hookd.model.journal import decode
from units.doctor.context import HostContext
from units.doctor.finding import Finding, error, ok


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Report the lines that are no events, and the one that a crash cut off."""
    path = context.settings.journal_path(app.name)
    unread = {number: line for number, line in enumerate(context.journal_lines(app), 1) if line and not decode([line])}
    damaged = [number for number, line in unread.items() if line.endswith("}")]
    for number in damaged[:1]:
        lines = "1 line is no event" if len(damaged) == 1 else f"{len(damaged)} lines are no events"
        yield error(f"{path}: {lines} and ignored, first line {number}", f"sudo sed -n {number}p {path}")
    for number in sorted(unread.keys() - set(damaged)):
        yield ok(f"{path} line {number} was cut off by a crash, and is ignored")
