"""Values of a plan: a key with its value and the place where it was read, and a variable that the app reads."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """A key of the app's file. A `proposed` one runs, moves or adds something, so a person agrees first."""

    key: str
    value: Any
    source: str
    proposed: bool = False


@dataclass(frozen=True)
class Variable:
    """A variable that the app reads. A `needed` one has no default in the code.

    In `example` the text `{shared}` stands for the app's shared directory, and `{domain}` for its domain.
    """

    name: str
    source: str
    needed: bool = False
    example: str | None = None
    secret: bool = False


@dataclass(frozen=True)
class Found:
    """The result of one finder."""

    findings: tuple[Finding, ...] = ()
    variables: tuple[Variable, ...] = ()
    remarks: tuple[str, ...] = ()
