"""The paths of one app: its root, and its part of hookd's own state."""

from pathlib import Path

from hookd.model.settings import Settings


class AppPaths:
    """The paths of an app."""

    def __init__(self, root: Path, settings: Settings, app: str) -> None:
        self.root = root
        # One directory per release.
        self.releases = root / "releases"
        # One virtual environment per set of dependencies.
        self.venvs = root / "venvs"
        # The link to the release that serves.
        self.current = root / "current"
        # The bare mirror of the repository.
        self.mirror = settings.state / "mirrors" / f"{app}.git"
        self.journal = settings.journal_path(app)
        # Lets one deployment of the app run.
        self.lock = settings.lock_path(app)
        # The number of consecutive worker crashes that one commit caused.
        self.crash_count = self.lock.with_suffix(".crashes")
        # uv's cache, for this app alone: a package built for one app must not reach another.
        self.cache = settings.state / "cache" / app
        # HOME of every command.
        self.home = settings.state / "home" / app

    def release(self, name: str) -> Path:
        """Return the directory of a release."""
        return self.releases / name

    def partial(self, name: str) -> Path:
        """Return the directory of a release during its build."""
        return self.releases / f".{name}.partial"

    def colour(self, colour: str) -> Path:
        """Return the working directory link of a blue or green service."""
        return self.root / colour
