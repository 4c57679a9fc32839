"""The paths of one app: its root, and its part of hookd's own state."""

from dataclasses import dataclass
from pathlib import Path

from hookd.model.settings import Settings


@dataclass(frozen=True)
class AppPaths:
    """The paths of an app."""

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
        """Return the directory of a release."""
        return self.releases / name

    def partial(self, name: str) -> Path:
        """Return the directory of a release during its build."""
        return self.releases / f".{name}.partial"

    def colour(self, colour: str) -> Path:
        """Return the working directory link of a blue or green service."""
        return self.root / colour

    @property
    def mirror(self) -> Path:
        """The bare mirror of the repository."""
        return self.settings.state / "mirrors" / f"{self.app}.git"

    @property
    def journal(self) -> Path:
        """The app's journal."""
        return self.settings.journal_path(self.app)

    @property
    def lock(self) -> Path:
        """The lock that lets one deployment of the app run."""
        return self.settings.lock_path(self.app)

    @property
    def crash_count(self) -> Path:
        """The number of consecutive worker crashes that one commit caused."""
        return self.lock.with_suffix(".crashes")

    @property
    def cache(self) -> Path:
        """The cache of uv for this app alone: a package built for one app must not reach another."""
        return self.settings.state / "cache" / self.app

    @property
    def home(self) -> Path:
        """HOME of every command of this app."""
        return self.settings.state / "home" / self.app
