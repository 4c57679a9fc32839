"""Report of a doctor run: the worst findings first, JSON, and an exit status."""

import json
import socket
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from units.doctor.finding import Finding, Level

_RANK: Final = tuple(Level)
# Exit statuses of monitoring plugins: https://www.monitoring-plugins.org/doc/guidelines.html
_EXIT: Final = {Level.OK: 0, Level.WARNING: 1, Level.ERROR: 2, Level.UNKNOWN: 3}


@dataclass(frozen=True)
class Report:
    """All findings of one run, in the order of the checks."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst level found."""
        return max((finding.level for finding in self.findings), key=_RANK.index, default=Level.OK)

    @property
    def exit_status(self) -> int:
        """Status for monitoring: 0 ok, 1 warning, 2 critical, 3 unknown."""
        return _EXIT[self.level]

    def sorted(self) -> list[Finding]:
        """Return the findings, the worst first."""
        return sorted(self.findings, key=lambda finding: -_RANK.index(finding.level))

    def summary(self) -> str:
        """Return the number of findings per level in one line."""
        numbers = Counter(finding.level for finding in self.findings)
        counts = (_format_count(level, numbers[level]) for level in reversed(_RANK) if numbers[level])
        return f"{socket.gethostname()}: {', '.join(counts)}"

    def as_json(self) -> str:
        """Return the report as one JSON document."""
        document = {
            "host": socket.gethostname(),
            "at": self.at.isoformat(timespec="seconds"),
            "level": self.level,
            "exit_status": self.exit_status,
            "findings": [vars(finding) for finding in self.sorted()],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)


def _format_count(level: Level, number: int) -> str:
    plural = "s" if number > 1 and level in (Level.ERROR, Level.WARNING) else ""
    return f"{number} {level}{plural}"
