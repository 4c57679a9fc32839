"""The log of a deployment, with credentials masked and control characters escaped, and its steps in Redis."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

from redis.exceptions import RedisError

from hookd.eventlog import event
from hookd.model.deployment import Deployment, IllegalTransition, Step, StepName, with_step
from hookd.model.text import printable, truncate
from hookd.queue.deployments import Contention, DeploymentStore, NoSuchDeployment
from worker.report.output import ANSI

log: Final = logging.getLogger(__name__)

MAX_BYTES: Final = 5 * 1024 * 1024
MASK: Final = "***"
# A commit may have written a part of a message, such as a version of Python.
_MAX_TEXT: Final = 4096
_MIN_SECRET_LENGTH: Final = 6
_SECRET_NAME: Final = re.compile(r"(?i)secret|token|pass(?:w|phrase|$)|key|credential|dsn|_url$|^url$|auth")
# A value that looks random, whatever its name.
_RANDOM: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+=_-]{16,}")
_CREDENTIALS: Final = (
    re.compile(r"(?<=://)[^/\s]+(?=@)"),
    re.compile(r"(?i)(?<=[?&]token=)[^&\s]+|(?<=access_token=)[^&\s]+|(?<=private_token=)[^&\s]+"),
    re.compile(r"(?i)(?<=authorization: )\S+(?: \S+)?|(?<=bearer )\S+"),
)
# The part of a URL's `user:password` up to a character that curl takes for the end of the host name.
_CUT_PASSWORD: Final = re.compile(r"(?:^|://)([^\s/#?:@]+:[^\s/#?@]+)\S*@")


class Redaction:
    """Masks credentials: values of variables with secret names or a random look, and text shaped like a credential."""

    def __init__(self, *environments: Mapping[str, str]) -> None:
        variables = [variable for environment in environments for variable in environment.items()]
        secrets = (value for name, value in variables if _SECRET_NAME.search(name) or _RANDOM.fullmatch(value))
        # Output arrives line by line, and a private key has many lines.
        values = {line.strip() for secret in secrets for line in secret.splitlines()}
        known = {value for value in values if len(value) >= _MIN_SECRET_LENGTH}
        known |= {match[1] for _, value in variables if (match := _CUT_PASSWORD.search(value))}
        ordered = sorted(known, key=len, reverse=True)
        self._values = re.compile("|".join(re.escape(value) for value in ordered)) if ordered else None

    def apply(self, text: str) -> str:
        """Return the text with each credential replaced by `***`."""
        masked = self._values.sub(MASK, text) if self._values else text
        for pattern in _CREDENTIALS:
            masked = pattern.sub(MASK, masked)
        return masked


class LogFile:
    """Appends lines to a deployment's log. After 5 MiB a last line says so.

    The group of a `shared` log may read it. The group is the receiver's where the directory of all logs is setgid.
    """

    def __init__(self, path: Path, redaction: Redaction, *, shared: bool = False) -> None:
        self._descriptor = _open(path, 0o027 if shared else 0o077)
        self._redaction = redaction
        self._left = MAX_BYTES

    def line(self, step: str, text: str) -> None:
        """Write a line under the name of a step. A full disk costs the line, not the deployment."""
        if self._left <= 0:
            return
        whole = f"{datetime.now():%H:%M:%S.%f}"[:12] + f" {step:<16} {self.clean(text)}\n"
        self._left -= len(whole.encode())
        last = f"… the log ends here: it has reached {MAX_BYTES} bytes\n"
        with suppress(OSError):
            os.write(self._descriptor, (whole if self._left > 0 else last).encode())

    def clean(self, text: str) -> str:
        """Drop colours, mask credentials, escape control characters and cut a long text."""
        return truncate(printable(self._redaction.apply(ANSI.sub("", text)), keep="\t"), _MAX_TEXT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _open(path: Path, umask: int) -> int:
    """Open a log for appending. Its directory gets its mode by the umask, because a chmod may clear the setgid bit."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    old = os.umask(umask)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)
    finally:
        os.umask(old)


class LogSink(Protocol):
    """Takes log lines: a deployment's log file, or the event log of a program."""

    def line(self, step: str, text: str) -> None:
        """Write a line under the name of a step."""

    def clean(self, text: str) -> str:
        """Return the text as it may be shown."""


class StepLog:
    """Writes the lines and steps of a task to its log."""

    def __init__(self, deployment_id: str, sink: LogSink) -> None:
        self.deployment_id = deployment_id
        self._sink = sink
        self._step = "hookd"

    @contextmanager
    def step(self, name: StepName, detail: str | None = None) -> Iterator[None]:
        """Record the start, the end, the seconds and the outcome of a step."""
        step = Step(name=name, started_at=datetime.now(UTC), detail=detail)
        started = time.monotonic()
        outer, self._step = self._step, name
        self._save(step)
        outcome: Literal["done", "failed"] = "failed"
        try:
            yield
            outcome = "done"
        finally:
            seconds = round(time.monotonic() - started, 3)
            self._save(step.model_copy(update={"seconds": seconds, "outcome": outcome}))
            self.line(f"{outcome} after {seconds:.2f} s")
            self._step = outer

    def _save(self, step: Step) -> None:
        """Keep a step. The log alone needs nothing more."""

    def line(self, text: str) -> None:
        """Write a line to the log, under the name of the running step."""
        self._sink.line(self._step, text)

    def clean(self, text: str) -> str:
        """Mask credentials and escape control characters."""
        return self._sink.clean(text)


class Recorder(StepLog):
    """Records a deployment's steps also in Redis.

    A Redis error is logged and does not stop the deployment, so `store` should not wait for Redis.
    """

    def __init__(self, deployment: Deployment, store: DeploymentStore, sink: LogSink) -> None:
        super().__init__(deployment.id, sink)
        self.deployment = deployment
        self._store = store

    def update(self, **changes: Any) -> None:
        """Add facts, such as the commit, to the record."""
        self._change(lambda record: record.model_copy(update=changes))

    def _save(self, step: Step) -> None:
        self._change(lambda record: with_step(record, step))

    def _change(self, changed: Callable[[Deployment], Deployment]) -> None:
        self.deployment = changed(self.deployment)
        try:
            self._store.change(self.deployment.id, changed)
        except (RedisError, Contention, NoSuchDeployment, IllegalTransition) as error:
            why = type(error).__name__
            event(log, "progress not recorded", logging.WARNING, deployment=self.deployment.id, why=why)
