"""Report of a doctor run: text with the worst findings first, JSON, and an exit status."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from units.doctor.finding import EXIT, RANK, Finding, Level, worst_level

_COLOURS: Final = {Level.OK: "green", Level.UNKNOWN: "magenta", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_WIDTH: Final = 9


@dataclass(frozen=True)
class Report:
    """All findings of one run, in the order of the checks."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst level found."""
        return worst_level(self.findings)

    @property
    def exit_status(self) -> int:
        """Status for monitoring: 0 ok, 1 warning, 2 critical, 3 unknown."""
        return EXIT[self.level]

    def sorted(self) -> list[Finding]:
        """Return the findings, the worst first."""
        return sorted(self.findings, key=lambda finding: -RANK.index(finding.level))

    def summary(self) -> str:
        """Return the number of findings per level in one line."""
        counts = ((level, sum(one.level is level for one in self.findings)) for level in reversed(RANK))
        text = ", ".join(_format_count(level, number) for level, number in counts if number)
        health = "is well" if self.level is Level.OK else "is not well"
        return f"{socket.gethostname()} {health}: {text or 'no findings'}"

    def as_json(self) -> str:
        """Return the report as one JSON document."""
        document: dict[str, Any] = {
            "host": socket.gethostname(),
            "at": self.at.isoformat(timespec="seconds"),
            "level": self.level,
            "exit_status": self.exit_status,
            "findings": [vars(finding) for finding in self.sorted()],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)

    def show(self, console: Console, *, quiet: bool = False) -> None:
        """Print the report. `quiet` omits passed checks."""
        console.print(Text(f"hookd: {self.summary()}", style=_COLOURS[self.level]), soft_wrap=True)
        for finding in self.sorted():
            if not (quiet and finding.level is Level.OK):
                for line in _format_finding(finding):
                    console.print(line, soft_wrap=True)


def _format_count(level: Level, number: int) -> str:
    plural = "s" if number > 1 and level in (Level.ERROR, Level.WARNING) else ""
    return f"{number} {level}{plural}"


def _format_finding(finding: Finding) -> Iterator[Text]:
    title = f"{finding.app} {finding.check}" if finding.app else finding.check
    colour = _COLOURS[finding.level]
    yield Text.assemble((f"{finding.level:{_WIDTH}}", colour), (f"{title}: ", "bold"), finding.message)
    if finding.hint:
        yield Text(f"{'':{_WIDTH}}next: {finding.hint}", style="dim")
