"""The errors of a deployment, as one tree. Every other exception is a defect of hookd.

DeployError                 the deployment cannot go on                                     → failed
├── CommitRefused           the commit is at fault, so it is quarantined                    → failed
├── CommandFailed           a program failed                                                → failed
│   ├── TimedOut            a program reached a time limit and was stopped                  → failed
│   └── Unreachable         the git host does not answer, or has no such branch             → failed
├── AppLocked               another deployment of the app runs                              → failed
├── ServiceMissing          the process manager does not answer, or knows no such service   → failed
├── RolledBack              the new release is bad, and the old one serves                  → rolled_back
├── RollbackFailed          the app may be down                                             → rollback_failed
└── SwitchNotRecorded       the new release serves, but the journal could not be written    → rollback_failed
Unhealthy                   a release failed its health check
DeploymentFailed            ends the RQ job as failed
"""

from typing import Final

from rq.timeouts import JobTimeoutException

from hookd.model.decision import Verdict
from hookd.model.deployment import Status
from hookd.model.hint import AnyHint


class DeployError(Exception):
    """Ends a deployment: the cause in one sentence, and the next command for the operator.

    `healthy` is True if the app answers after this ending, and None if that was not checked.
    """

    ending = Status.FAILED
    verdict = Verdict.ENDED
    healthy: bool | None = None

    def __init__(self, cause: str, *, hint: AnyHint | None = None, healthy: bool | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        if healthy is not None:
            self.healthy = healthy


class CommitRefused(DeployError):
    """The commit cannot become a release, however often it is deployed."""


class CommandFailed(DeployError):
    """A program failed. `lines` are its last lines of output."""

    def __init__(self, cause: str, *, lines: tuple[str, ...] = (), hint: AnyHint | None = None) -> None:
        super().__init__(cause, hint=hint)
        self.lines = lines


class TimedOut(CommandFailed):
    """A program reached its limit of time or of silence."""


class Unreachable(CommandFailed):
    """The branch cannot be fetched."""

    verdict = Verdict.UNREACHABLE


class AppLocked(DeployError):
    """Another deployment of the app runs."""


class ServiceMissing(DeployError):
    """The process manager is at fault, not the commit."""


class RolledBack(DeployError):
    """The new release is bad, and the old one serves."""

    ending = Status.ROLLED_BACK


class RollbackFailed(DeployError):
    """The new release is bad, and the app may be down."""

    ending = Status.ROLLBACK_FAILED
    healthy = False


class SwitchNotRecorded(DeployError):
    """The new release serves without an entry in the journal. The next deployment recovers from that."""

    ending = Status.ROLLBACK_FAILED


class Unhealthy(Exception):
    """A release failed its health check. The message says how."""


class DeploymentFailed(Exception):
    """Ends the RQ job as failed, after the ending of the deployment is recorded."""


# The errors that make a started release bad. JobTimeoutException is RQ's limit for the whole deployment.
BAD_RELEASE: Final = (Unhealthy, CommandFailed, JobTimeoutException)
