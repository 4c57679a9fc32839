"""Names and ids from outside. A validated one is safe in a path, a Redis key and an argument vector."""

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final

from pydantic import StringConstraints

APP_PATTERN: Final = r"[a-z][a-z0-9-]{0,31}"
COMMIT_PATTERN: Final = r"(?:[0-9a-f]{40}|[0-9a-f]{64})"
_DEPLOYMENT_PATTERN: Final = rf"({APP_PATTERN})-[0-9]{{8}}T[0-9]{{9}}-[0-9a-f]{{6}}"
RELEASE_PATTERN: Final = r"[0-9]{6}-[0-9a-f]{12}"
_DELIVERY_PATTERN: Final = r"[A-Za-z0-9._-]{1,128}"
_ABBREVIATION_PATTERN: Final = r"[0-9a-f]{7,64}"

AppName = Annotated[str, StringConstraints(pattern=rf"^{APP_PATTERN}$")]
CommitId = Annotated[str, StringConstraints(pattern=rf"^{COMMIT_PATTERN}$")]
DeploymentId = Annotated[str, StringConstraints(pattern=rf"^{_DEPLOYMENT_PATTERN}$")]
WantedCommit = Annotated[str, StringConstraints(pattern=rf"^{_ABBREVIATION_PATTERN}$")]
ReleaseName = Annotated[str, StringConstraints(pattern=rf"^{RELEASE_PATTERN}$")]

# Forbidden in a ref by git-check-ref-format(1). A leading `-` would read as an option.
_BRANCH_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|^[-./]|[./]$|^@$")


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


is_app: Final = _matches(APP_PATTERN)
# A sender's delivery id, as a record keeps it.
is_delivery: Final = _matches(_DELIVERY_PATTERN)
is_deployment: Final = _matches(_DEPLOYMENT_PATTERN)
is_release: Final = _matches(RELEASE_PATTERN)
# A commit or its first digits.
is_abbreviation: Final = _matches(_ABBREVIATION_PATTERN)


def is_branch(text: str) -> bool:
    """Return True if git accepts `text` as a branch and no program reads it as an option."""
    return 0 < len(text) <= 200 and _BRANCH_FORBIDDEN.search(text) is None


def slug(text: str) -> str:
    """Return a text as a name of an app or a process, which may turn out empty or begin with a digit."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].rstrip("-")


def new_deployment_id(app: str, at: datetime) -> str:
    """Return a unique id that sorts by time within an app, because RQ orders equally old jobs by id."""
    return f"{app}-{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(3)}"


def app_of(deployment_id: str) -> str:
    """Return the app of a deployment. Raises ValueError for an invalid id."""
    match = re.fullmatch(_DEPLOYMENT_PATTERN, deployment_id)
    if match is None:
        raise ValueError(f"not a deployment id: {deployment_id!r}")
    return match[1]


def requested_at(deployment_id: str) -> datetime | None:
    """Return the time in a deployment id, or None if id or time is invalid."""
    if not is_deployment(deployment_id):
        return None
    try:
        return datetime.strptime(f"{deployment_id.split('-')[-2]}000+0000", "%Y%m%dT%H%M%S%f%z")
    except ValueError:
        return None


def release_name(number: int, commit: str) -> str:
    """Return the name of a release's directory: its number and the first twelve digits of its commit."""
    return f"{number:06d}-{commit[:12]}"
