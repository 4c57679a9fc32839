"""Where one app's things live on disk: its root, and its part of hookd's own state."""

from dataclasses import dataclass
from pathlib import Path

from hookd.model.settings import Settings


@dataclass(frozen=True)
class AppPaths:
    """Where an app's things live."""

    root: Path
    settings: Settings
    app: str

    @property
    def releases(self) -> Path:
        """One directory per release."""
        return self.root / "releases"

    @property
    def venvs(self) -> Path:
        """One virtual environment per set of dependencies."""
        return self.root / "venvs"

    @property
    def current(self) -> Path:
        """The link to the release that serves."""
        return self.root / "current"

    def release(self, name: str) -> Path:
        """The directory of a release."""
        return self.releases / name

    def partial(self, name: str) -> Path:
        """Where a release is built before it gets its name."""
        return self.releases / f".{name}.partial"

    def colour(self, colour: str) -> Path:
        """The link that a coloured service runs in."""
        return self.root / colour

    @property
    def mirror(self) -> Path:
        """The bare mirror of the repository."""
        return self.settings.state / "mirrors" / f"{self.app}.git"

    @property
    def journal(self) -> Path:
        """The app's memory."""
        return self.settings.journal_path(self.app)

    @property
    def lock(self) -> Path:
        """The lock of the app's one deployer."""
        return self.settings.lock_path(self.app)

    @property
    def crash_count(self) -> Path:
        """How often in a row a commit killed the process that deployed it."""
        return self.lock.with_suffix(".deaths")

    @property
    def cache(self) -> Path:
        """The cache of uv and pip, for this app alone: a package built for one app must not reach another."""
        return self.settings.state / "cache" / self.app

    @property
    def home(self) -> Path:
        """HOME of everything that runs for this app."""
        return self.settings.state / "home" / self.app
