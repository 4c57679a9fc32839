"""What can go wrong with a deployment, as one tree; anything outside it is hookd's own failure.

DeployError                 the commit or its surroundings; nothing was switched           → failed
├── CommitRefused           the commit itself is at fault: it is quarantined                → failed
├── CommandFailed           a program ended badly                                           → failed
│   ├── TimedOut            a program ran too long or fell silent, and was stopped          → failed
│   └── Unreachable         the git host does not answer, or has no such branch             → failed
├── ServiceMissing          the process manager does not answer, or knows no such service   → failed
├── StillUnwell             what should serve is not well, also after it was started again   → failed
├── NothingServes           the very first release is bad, and there is none to go back to  → failed
├── RolledBack              the new release was started and is bad; the old one serves      → rolled_back
├── RollbackFailed          what serves is not certain: a person must look                  → rollback_failed
└── NotNoted             the new release was switched to, and that could not be noted    → rollback_failed
Unhealthy                   inside a handover: how a release failed its health check
DeploymentFailed            around it all: ends the RQ job as failed
"""

from typing import Final

from rq.timeouts import JobTimeoutException

from hookd.model.decision import Verdict
from hookd.model.deployment import Status
from hookd.model.hint import AnyHint


class DeployError(Exception):
    """A deployment that cannot go on: one sentence for people, and the next command to type."""

    ending = Status.FAILED
    verdict = Verdict.ENDED
    # Whether the app answers after this ending; None when nothing was tried.
    healthy: bool | None = None

    def __init__(self, cause: str, *, hint: AnyHint | None = None, healthy: bool | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        if healthy is not None:
            self.healthy = healthy


class CommitRefused(DeployError):
    """The commit cannot become a release, however often it is tried."""


class CommandFailed(DeployError):
    """A program did not do its work; `lines` are the last ones it printed."""

    def __init__(self, cause: str, *, lines: tuple[str, ...] = (), hint: AnyHint | None = None) -> None:
        super().__init__(cause, hint=hint)
        self.lines = lines


class TimedOut(CommandFailed):
    """A program reached one of its limits."""


class Unreachable(CommandFailed):
    """The branch cannot be fetched."""

    verdict = Verdict.UNREACHABLE


class ServiceMissing(DeployError):
    """The process manager is at fault, not the commit."""


class RepairFailed(DeployError):
    """The release that should serve does not, and starting it again did not help."""

    healthy = False


class FirstReleaseFailed(DeployError):
    """The first release of an app is bad."""

    healthy = False


class RolledBack(DeployError):
    """The old release serves, after the new one turned out bad."""

    ending = Status.ROLLED_BACK


class RollbackFailed(DeployError):
    """The app may not be serving; a person must look."""

    ending = Status.ROLLBACK_FAILED
    healthy = False


class SwitchNotRecorded(DeployError):
    """What was handed over to could not be noted: the next deployment settles it."""

    ending = Status.ROLLBACK_FAILED


class Unhealthy(Exception):
    """A release did not answer as it must; the message says what it did instead."""


class DeploymentFailed(Exception):
    """Ends the RQ job as failed, after the deployment's own ending is recorded."""


# What makes a release bad once it was started; RQ's alarm rings when the whole deployment takes too long.
BAD_RELEASE: Final = (Unhealthy, CommandFailed, JobTimeoutException)
