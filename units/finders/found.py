"""The result of one finder."""

from dataclasses import dataclass

from hookd.model.plan import Finding, Variable


@dataclass(frozen=True)
class Found:
    """A part of a plan."""

    findings: tuple[Finding, ...] = ()
    variables: tuple[Variable, ...] = ()
    remarks: tuple[str, ...] = ()
