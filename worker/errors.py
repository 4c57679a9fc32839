"""The errors of a deployment, as one tree. Every other exception is a defect of hookd.

DeployError                 the deployment cannot go on                                     → failed
├── CommitRefused           the commit is at fault, so it is quarantined                    → failed
├── CommandFailed           a program failed                                                → failed
│   ├── TimedOut            a program reached a time limit and was stopped                  → failed
│   ├── Killed              a program was killed from outside, or ran out of memory         → failed
│   └── Unreachable         the git host does not answer, or has no such branch             → failed
├── ReleaseCommandsFailed   a migration or another release command failed                   → failed
├── AppLocked               another deployment of the app runs                              → failed
├── ServiceMissing          the process manager does not answer, or knows no such service   → failed
├── RolledBack              the new release is bad, and the old one serves                  → rolled_back
├── RollbackFailed          the app may be down                                             → rollback_failed
└── SwitchNotRecorded       the new release serves, but the journal could not be written    → rollback_failed
Unhealthy                   a release failed its health check
├── ProcessFailed           a process beside the web process did not stay up
│   └── ProcessKilled       a signal ended it
└── ReleaseKilled           a signal ended each of its starts, which proves nothing about its commit
DeploymentFailed            ends the RQ job as failed
"""

from enum import Enum
from typing import Final, Self

from rq.timeouts import JobTimeoutException

from hookd.model.decision import Verdict
from hookd.model.deployment import Status
from hookd.model.hint import AnyHint, Hint
from hookd.model.text import truncate

_MAX_CAUSE: Final = 500


class Fault(Enum):
    """The party at fault: the commit, the app's configuration with its variables, or the host."""

    COMMIT = "commit"
    CONFIGURATION = "configuration"
    HOST = "host"
    UNKNOWN = "unknown"


class DeployError(Exception):
    """Ends a deployment: the cause in one sentence, and the next command for the operator.

    `healthy` is True if the app answers after this ending, and None if that was not checked. `was_killed` means that a
    signal ended the new release, so that the commit is tried again.
    """

    ending = Status.FAILED
    verdict = Verdict.ENDED
    healthy: bool | None = None
    was_killed = False

    def __init__(self, cause: str, *, hint: AnyHint | None = None, healthy: bool | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        if healthy is not None:
            self.healthy = healthy


class CommitRefused(DeployError):
    """The commit cannot become a release, however often it is deployed with this configuration.

    Its cause may quote the commit, so it has a limit.
    """

    def __init__(self, cause: str, *, hint: AnyHint | None = None, fault: Fault = Fault.COMMIT) -> None:
        super().__init__(truncate(cause, _MAX_CAUSE), hint=hint)
        self.fault = fault


class CommandFailed(DeployError):
    """A program failed.

    `lines` are its last lines of output, `reason` is the one that names its error and ends the cause. `started` counts
    the commands of a phase that began.
    """

    fault = Fault.UNKNOWN

    def __init__(
        self,
        cause: str,
        *,
        lines: tuple[str, ...] = (),
        reason: str = "",
        hint: AnyHint | None = None,
        started: int = 0,
    ) -> None:
        super().__init__(cause, hint=hint)
        self.lines = lines
        self.reason = reason
        self.started = started

    @classmethod
    def ended(cls, how: str, lines: tuple[str, ...], reason: str, *, started: int = 0) -> Self:
        """Return the error of a program that ended as `how` says, because of `reason`."""
        return cls(f"{how}: {reason}" if reason else how, lines=lines, reason=reason, started=started)


def refusal(error: CommandFailed, what: str) -> DeployError:
    """Return the error of a commit that a failed program refuses. A fault of the host refuses none."""
    cause = f"{what}: {error.reason or error.cause}"
    if error.fault is Fault.HOST:
        return DeployError(cause, hint=error.hint)
    return CommitRefused(cause, hint=error.hint, fault=error.fault)


class TimedOut(CommandFailed):
    """A program reached its limit of time or of silence."""

    program = ""
    limit = ""

    @classmethod
    def at(cls, program: str, limit: str, *, key: str = "", started: int = 0) -> Self:
        """Return the error of a program at a limit, which `key` of the app's file sets."""
        error = cls(f"{program} {limit} and was stopped{f' ({key})' if key else ''}", started=started)
        error.program, error.limit = program, limit
        return error


class Killed(CommandFailed):
    """A program did not end by itself, so its end proves nothing about the commit."""


class Unreachable(CommandFailed):
    """The branch cannot be fetched."""

    verdict = Verdict.UNREACHABLE


class ReleaseCommandsFailed(DeployError):
    """A release command failed. It may have changed the database, so only a person repeats it."""


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
    """A release failed its health check. The message says how, and `is_silent` means that it did not answer."""

    def __init__(self, cause: str, *, is_silent: bool = False) -> None:
        super().__init__(cause)
        self.is_silent = is_silent


class ProcessFailed(Unhealthy):
    """A process beside the web process does not start, or does not stay up. `hint` leads to its log."""

    def __init__(self, cause: str, *, hint: Hint) -> None:
        super().__init__(cause)
        self.hint = hint


class ProcessKilled(ProcessFailed):
    """A signal from outside ended a process, or the memory was used up."""


class ReleaseKilled(Unhealthy):
    """A signal ended or suspended the processes of a release, in both of its starts, or others hold its port."""


class DeploymentFailed(Exception):
    """Ends the RQ job as failed, after the ending of the deployment is recorded."""


# The errors that make a started release bad. JobTimeoutException is RQ's limit for the whole deployment.
BAD_RELEASE: Final = (Unhealthy, CommandFailed, JobTimeoutException)
