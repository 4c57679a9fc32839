"""hookd.toml: the settings of the host, each with its default and its description, and the paths of an app."""

from pathlib import Path
from typing import Final

from pydantic import Field

from hookd.model.app import App
from hookd.model.tables.fields import AbsolutePath, Bind, Mail, Protocol, RedisUrl, Section
from hookd.model.units.backup import BACKUPS, CLEAN
from hookd.model.units.phases import BUILD_CACHE


class RedisSettings(Section):
    """Redis or Valkey, for the queue and the records."""

    url: RedisUrl = Field("unix:///run/hookd/redis.sock?db=0", description="Redis or Valkey, as redis-py writes it.")
    directory: AbsolutePath | None = Field(
        None, description="Data of `hookd redis`, the embedded server. Default: `redis` below `state`."
    )
    passwords: AbsolutePath | None = Field(
        None,
        description="Directory with a password file per Redis user. Default: Redis has no users.",
    )


class ReceiverSettings(Section):
    """The receiver of webhooks, with its status pages."""

    bind: Bind = Field("127.0.0.1:8787", description="`HOST:PORT`, or `unix:/path` for a socket.")
    processes: int = Field(1, ge=1, le=16, description="Receiver processes. From two on, a master holds as much again.")
    threads: int = Field(16, ge=1, le=64, description="Concurrent requests of one process.")
    secrets: AbsolutePath = Field(Path("/etc/hookd/secrets"), description="Directory of the webhook secrets.")
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
    rest_seconds: int = Field(
        60, ge=1, le=86_400, description="Idle seconds until a worker gives back its memory. One stays ready."
    )


class HistorySettings(Section):
    """The lifetime of records and logs. Both limits apply."""

    keep: int = Field(100, ge=1, le=10_000, description="Deployments kept per app.")
    days: int = Field(90, ge=1, le=3650, description="Days a deployment is kept.")


class TlsSettings(Section):
    """The certificates of sites."""

    mail: Mail | None = Field(
        None, description="Your address for the certificate authority. Default: hookd starts no certbot."
    )


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
    tls: TlsSettings = TlsSettings()

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

    @property
    def ready_lock(self) -> Path:
        """The lock of the worker that stays ready while the others rest."""
        return self.state / "locks" / "ready"

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


# Below the directory of releases.
KEPT: Final = ".kept"


class AppPaths:
    """The paths of one app: its root, and its part of hookd's own state."""

    def __init__(self, app: App, settings: Settings) -> None:
        self.root = app.root
        # One directory per release.
        self.releases = app.root / "releases"
        # One virtual environment per set of dependencies.
        self.venvs = app.root / "venvs"
        # The link to the release that serves.
        self.current = app.root / "current"
        # The bare mirror of the repository.
        self.mirror = settings.state / "mirrors" / f"{app.name}.git"
        self.journal = settings.journal_path(app.name)
        # Lets one deployment of the app run.
        self.lock = settings.lock_path(app.name)
        # The number of consecutive worker crashes that one commit caused.
        self.crash_count = self.lock.with_suffix(".crashes")
        # The link to the release that is built, checked or migrated.
        self.next = app.root / "next"
        # The link to the backup from before release commands that have not ended well.
        self.clean_backup = app.root / CLEAN
        # The files of each release before the app's first start in it.
        self.records = settings.state / "records" / app.name
        # The files that the app wrote into removed releases. A hidden name is no release.
        self.kept = self.releases / KEPT
        # The caches of builds, for this app alone: a package built for one app must not reach another.
        self.cache = (BUILD_CACHE if app.uses_systemd else settings.state / "cache") / app.name
        # Backups before release commands. On a server only root opens this directory.
        self.backups = (BACKUPS if app.uses_systemd else settings.state / "backups") / app.name
        # HOME of git.
        self.home = settings.state / "home" / app.name

    def release(self, name: str) -> Path:
        """Return the directory of a release."""
        return self.releases / name

    def record(self, name: str) -> Path:
        """Return the record of a release's files."""
        return self.records / f"{name}.gz"

    def partial(self, name: str) -> Path:
        """Return the directory of a release during its build."""
        return self.releases / f".{name}.partial"

    def colour(self, colour: str) -> Path:
        """Return the working directory link of a blue or green service."""
        return self.root / colour
