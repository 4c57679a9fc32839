"""The reason why git could not fetch: a limit, a full disk, a damaged history, or no access."""

import re
from pathlib import Path
from typing import Final

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from worker.errors import CommandFailed, DeployError, TimedOut, Unreachable

# The text of the system's error, which git prints as it is.
_DISK_FULL: Final = "No space left on device"
_FINDING: Final = re.compile(r"error: (object [0-9a-f]+: [A-Za-z]+: .*)")
_MAX_SECONDS: Final = 86_400


def fetch_error(app: App, directory: Path, what: str, error: CommandFailed, *, access: Hint) -> DeployError:
    """Return the error of a fetch into `directory`.

    `what` names the source, and `access` is the hint if it cannot be reached.
    """
    failed = f"{what} cannot be fetched"
    if isinstance(error, TimedOut):
        longer = str(min(2 * int(app.limits.git_seconds) or 1, _MAX_SECONDS))
        cause = f"{failed}: {error.cause} (limits.git_seconds)"
        return Unreachable(cause, lines=error.lines, hint=Hint(HintKind.SET_GIT_SECONDS, longer))
    if any(_DISK_FULL in line for line in error.lines):
        hint = Hint(HintKind.SHOW_DISK_SPACE, str(directory.parent))
        return DeployError(f"{failed}: no space is left in {directory.parent}", hint=hint)
    if finding := next(filter(None, map(_FINDING.match, error.lines)), None):
        return Unreachable(f"{failed}, git refuses {finding[1]}", lines=error.lines, hint=Hint(HintKind.SHOW_LOG))
    return Unreachable(f"{failed}: {error.cause}", lines=error.lines, hint=access)
