"""Results of checks: a level, the cause in one line, and the command that repairs it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hookd.model.text import printable, truncate

_MAX_CHARACTERS: Final = 600


class Level(StrEnum):
    """Severity of a finding, from best to worst."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One result of a check, for the host or for `app`."""

    level: Level
    message: str
    hint: str | None = None
    check: str = ""
    app: str | None = None


class CannotCheck(Exception):
    """A check lacks a right, a configuration or an answer. `hint` is the command that helps."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def ok(message: str) -> Finding:
    """Return a finding for a passed check."""
    return Finding(Level.OK, _one_line(message))


def warning(message: str, hint: str) -> Finding:
    """Return a finding for a service that works now and will fail later."""
    return Finding(Level.WARNING, _one_line(message), _one_line(hint))


def error(message: str, hint: str) -> Finding:
    """Return a finding for a failure or an access that must be closed."""
    return Finding(Level.ERROR, _one_line(message), _one_line(hint))


def unknown(message: str, hint: str | None = None) -> Finding:
    """Return a finding for a check that could not run."""
    return Finding(Level.UNKNOWN, _one_line(message), _one_line(hint) if hint else None)


def _one_line(text: str) -> str:
    """Return untrusted text, such as the output of a git host, as one printable line of limited length."""
    return truncate(printable(" ".join(text.split())), _MAX_CHARACTERS)
