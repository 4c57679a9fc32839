"""Turns a failure into its cause: what went wrong, the key or variable that mends it, and what is at fault.

Everything here is pure. `output` finds the line of the error, `kinds` knows the failures that have a remedy.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.hint import OPEN_VALUE, Hint, HintKind
from worker.errors import Fault
from worker.report.kinds import Cause, Failure, explain, with_key
from worker.report.output import error_line, plain_lines

__all__ = ["Cause", "find_cause", "health_cause", "limit_cause", "without_root"]

# The answers of a page that is not the health page of the app.
_OTHER_PAGE: Final = frozenset({"301", "302", "303", "307", "308", "401", "403", "404", "405", "410"})
_ANSWER: Final = re.compile(r"\banswered (\d{3})\b")
_SLOW: Final = re.compile(r"\banswered 504\b|health\.deadline|gives no answer")
# As worker/service/listener.py says it.
_HELD: Final = re.compile(r":(\d+) is held by another user")
# Stands between a health page's answer and what the app raised (units/in_app/hookd_app/gate.py).
_RAISED: Final = " raised "


def find_cause(phase: str, lines: Sequence[str], app: App) -> Cause | None:
    """Return the cause of a command that failed in a phase, or None without output.

    `lines` are the end of what it printed.
    """
    plain = plain_lines(lines)
    error = error_line(plain)
    return explain(Failure(phase, app, plain, error)) if error else None


def health_cause(text: str, app: App) -> Cause:
    """Return the cause of a failed health check, which `text` describes, with what the app itself raised."""
    if held := _HELD.search(text):
        return Cause(text, Hint(HintKind.SHOW_PORT, held[1]), Fault.HOST)
    answer = _ANSWER.search(text)
    if answer and answer[1] in _OTHER_PAGE:
        return with_key(text, "health.url", OPEN_VALUE)
    if answer and answer[1] == "400" and app.health.host != app.site.domain:
        return with_key(text, "health.host", app.site.domain or OPEN_VALUE)
    if app.service.command and not app.service.own_address and _SLOW.search(text):
        return with_key(text, "service.listen", OPEN_VALUE)
    if _SLOW.search(text):
        return with_key(text, "health.deadline", str(_doubled(app.health.deadline, 600)))
    raised = text.partition(_RAISED)[2]
    found = explain(Failure("service", app, (raised,), raised)) if raised else Cause(text)
    return replace(found, text=text)


def limit_cause(text: str, key: str, app: App) -> Cause:
    """Return the cause of a command that reached a limit of the app's file, with a higher one."""
    table, _, name = key.partition(".")
    return with_key(text, key, str(_doubled(getattr(getattr(app, table), name), 86_400)))


def without_root(hint: Hint, app: App, app_file: Path) -> Hint:
    """Return a hint that also works without root, where people edit the app's files themselves."""
    file = {
        HintKind.SET_KEY: app_file,
        HintKind.SET_PYTHON: app_file,
        HintKind.ALLOW_BUILD: app_file,
        HintKind.SET_VARIABLE: app.service.environment_file or app_file,
        HintKind.SET_BUILD_VARIABLE: app.build.environment_file or app_file,
    }.get(hint.kind)
    return Hint(HintKind.EDIT_FILE, str(file)) if file else hint


def _doubled(seconds: float, most: int) -> int:
    return min(most, max(1, round(2 * seconds)))
