"""Which of a record's hints a person is told to type: records are as trustworthy as receiver and worker are.

Whoever took one of them over may write any record. So only what the worker itself says is passed on, and of that only
what does no harm with any name in it: nothing that gives rights, and no path that root would write to.
"""

import re
from typing import Final

from hookd.contract.decision import Verdict
from hookd.contract.deployment import Deployment
from hookd.contract.names import APP_PATTERN, DEPLOYMENT_PATTERN
from hookd.contract.ruling import next_for

_PATH: Final = r"(?:/(?!\.\.?(?:/|$))[\w.@+-]+)+"
_UNIT: Final = r"[\w@][\w.@-]*\.service"
_SHAPES: Final = (
    r"hookd status",
    r"journalctl --unit 'hookd-worker@\*' --lines 50",
    rf"hookd (?:deploy|doctor|logs|status) {APP_PATTERN}",
    rf"hookd logs {DEPLOYMENT_PATTERN}",
    rf"name a commit: hookd rollback {APP_PATTERN} --to COMMIT",
    rf"sudo hookd permissions {APP_PATTERN} --fix",
    rf"journalctl --unit {_UNIT} --lines 50",
    rf"systemctl status {_UNIT}",
    rf"circusctl --endpoint (?:ipc://{_PATH}|tcp://[\w.:-]+) status",
    rf"df -[hi] {_PATH}",
    r"git rm -r --cached [\w.][\w./@+-]*, add it to .gitignore, and push",
    r"apt-get install git",
    r"install uv, or commit a requirements.txt",
    r"set dependencies\.python to one that exists",
    r"set dependencies\.allow_build = true in the app's file, to let packages run build code as the worker",
    rf'set ownership\.policy = "group" in the app\'s file, or put {_PATH} on ext4, xfs or btrfs',
)
_KNOWN: Final = re.compile("|".join(f"(?:{shape})" for shape in _SHAPES), re.ASCII)


def hint_of(record: Deployment) -> str | None:
    """What to type next; in the place of a hint that is not known, what shows the log, where the worker wrote it."""
    if record.hint is None or record.hint in _own(record.app) or _KNOWN.fullmatch(record.hint):
        return record.hint
    return f"hookd logs {record.id}"


def _own(app: str) -> set[str]:
    """What ends whatever keeps an app from its head; with another app's name in it, it could undo a person's choice."""
    calls = ("hookd", "sudo hookd")
    return {told for call in calls for verdict in Verdict if (told := next_for(verdict, app, call))}
