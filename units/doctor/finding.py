"""What a check has found: one sentence on what is seen and why it matters, and the command that mends it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Answers of git hosts, causes of old deployments: whatever would move the cursor or end the line is made visible.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_MAX_CHARACTERS: Final = 600


class Level(StrEnum):
    """How bad it is; the words are those of the report and of its JSON."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"


# From best to worst. What could not be looked at is no failure, and does not hide one.
RANK: Final = (Level.OK, Level.UNKNOWN, Level.WARNING, Level.ERROR)
# What monitoring expects of a plugin, Nagios and those after it: https://www.monitoring-plugins.org/doc/guidelines.html
EXIT: Final = {Level.OK: 0, Level.WARNING: 1, Level.ERROR: 2, Level.UNKNOWN: 3}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `check` and `app` say by which check, and for which app."""

    level: Level
    what: str
    hint: str | None = None
    check: str = ""
    app: str | None = None


class CannotCheck(Exception):
    """A check cannot look at what it is for."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


def ok(what: str) -> Finding:
    """All is well, with a word on what was seen."""
    return Finding(Level.OK, printable(what))


def warning(what: str, hint: str) -> Finding:
    """It works now, and will not for ever."""
    return Finding(Level.WARNING, printable(what), printable(hint))


def error(what: str, hint: str) -> Finding:
    """Something does not work, or is open to somebody whom it must be closed to."""
    return Finding(Level.ERROR, printable(what), printable(hint))


def unknown(what: str, hint: str | None = None) -> Finding:
    """It could not be looked at."""
    return Finding(Level.UNKNOWN, printable(what), printable(hint) if hint else None)


def worst_level(findings: Iterable[Finding]) -> Level:
    """The level of the worst finding; ok when there is none."""
    return max((finding.level for finding in findings), key=RANK.index, default=Level.OK)


def printable(text: str) -> str:
    """Make one line of bounded length of a text that may be a stranger's."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= _MAX_CHARACTERS else f"{line[: _MAX_CHARACTERS - 1]}…"
