"""hookd.toml: the settings of the host, each with its default and its description."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts or "\x00" in str(path):
        raise ValueError("an absolute path without .., such as /var/lib/hookd")
    return path


def _bind(text: str) -> str:
    match = re.fullmatch(r"unix:/[^\s:]+|(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})", text)
    if match is None or int(match["port"] or 1) not in range(1, 65_536):
        raise ValueError("127.0.0.1:8787, or unix:/run/hookd/receiver.sock")
    return text


def _redis_url(text: str) -> str:
    if not re.fullmatch(r"unix://(?:[^\s@/]*@)?/[^\s]+|rediss?://[^\s/]+(?:/[^\s]*)?", text):
        raise ValueError("unix:///run/hookd/redis.sock?db=0, or redis://HOST:PORT/0")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Protocol = Literal["https", "ssh", "http", "file"]


class Section(BaseModel, frozen=True, extra="forbid"):
    """A table of a configuration file. An unknown key is an error."""


class RedisSettings(Section):
    """Redis or Valkey, for the queue and the records."""

    url: Annotated[str, AfterValidator(_redis_url)] = Field(
        "unix:///run/hookd/redis.sock?db=0", description="Redis or Valkey, as redis-py writes it."
    )
    directory: AbsolutePath | None = Field(
        None, description="Data directory of `hookd redis`, the embedded server. Default: `redis` below `state`."
    )
    passwords: AbsolutePath | None = Field(
        None,
        description="Directory with a password file per Redis user. Default: Redis has no users.",
    )


class ReceiverSettings(Section):
    """The receiver of webhooks, with its status pages."""

    bind: Annotated[str, AfterValidator(_bind)] = Field(
        "127.0.0.1:8787", description="`HOST:PORT`, or `unix:/path` for a socket."
    )
    processes: int = Field(2, ge=1, le=16, description="Receiver processes.")
    threads: int = Field(8, ge=1, le=64, description="Concurrent requests of one process.")
    secrets: AbsolutePath = Field(
        Path("/etc/hookd/secrets"),
        description="Directory with one file per app: its webhook secret, one line each, at most two.",
    )
    max_body: int = Field(25 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024, description="Largest body in bytes.")
    public_url: str | None = Field(None, description="The receiver's public URL, for status links.")
    public_status: bool = Field(False, description="Status pages, decisions and metrics need no token.")
    token_file: AbsolutePath | None = Field(None, description="File with the bearer token that may read status pages.")


class WorkerSettings(Section):
    """The worker and its programs."""

    uv: AbsolutePath | None = Field(None, description="The uv program. Default: the one beside hookd, else the PATH's.")
    python: AbsolutePath | None = Field(
        None, description="Python for the apps' virtual environments. Default: hookd's own."
    )
    git_protocols: tuple[Protocol, ...] = Field(("https", "ssh"), description="Transports that git may use.")
    known_hosts: AbsolutePath | None = Field(None, description="Accepted ssh host keys. Default: the worker's own.")


class HistorySettings(Section):
    """The lifetime of records and logs. Both limits apply."""

    keep: int = Field(100, ge=1, le=10_000, description="Deployments kept per app.")
    days: int = Field(90, ge=1, le=3650, description="Days a deployment is kept.")


class Settings(Section):
    """All settings of hookd.toml."""

    state: AbsolutePath = Field(Path("/var/lib/hookd"), description="Mirrors, locks, journals and caches.")
    logs: AbsolutePath | None = Field(
        None, description="One log per deployment, for the receiver to read. Default: `logs` below `state`."
    )
    apps: AbsolutePath | None = Field(
        None, description="The catalogue: a directory of `<app>.toml`. Default: `apps` beside this file."
    )
    frozen: AbsolutePath | None = Field(
        None, description="One file per frozen app. Default: `frozen` beside this file."
    )
    redis: RedisSettings = RedisSettings()
    receiver: ReceiverSettings = ReceiverSettings()
    worker: WorkerSettings = WorkerSettings()
    history: HistorySettings = HistorySettings()

    @property
    def history_seconds(self) -> int:
        """The lifetime of records, job results and delivery answers in seconds."""
        return self.history.days * 86_400

    def log_directory(self, app: str) -> Path:
        """Return the directory of an app's deployment logs."""
        return (self.logs or self.state / "logs") / app

    def log_path(self, app: str, deployment_id: str) -> Path:
        """Return the log of a deployment."""
        return self.log_directory(app) / f"{deployment_id}.log"

    def lock_path(self, app: str) -> Path:
        """Return the lock that lets one deployment of an app run."""
        return self.state / "locks" / f"{app}.lock"

    def journal_path(self, app: str) -> Path:
        """Return the journal of an app."""
        return self.state / "journals" / f"{app}.jsonl"

    def status_url(self, deployment_id: str) -> str:
        """Return a deployment's status URL. Only a path without `receiver.public_url`."""
        return f"{(self.receiver.public_url or '').rstrip('/')}/deployments/{deployment_id}"

    @property
    def rq_environment(self) -> Path:
        """The file with the environment for the `rq` program."""
        return self.state / "rq.env"
