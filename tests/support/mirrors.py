"""A checkout for tests: a mirror below a directory, and what it told the log."""

from pathlib import Path
from typing import Any

from hookd.model.settings import AppPaths
from tests.support.repository import Repository
from tests.support.tasks import make_app, make_settings
from worker.release.git_mirror import GitMirror


class Mirror:
    """Fetches from a repository, or from any address, as the worker does."""

    def __init__(self, directory: Path, repository: Repository | str, branch: str = "main", **over: Any) -> None:
        url = repository if isinstance(repository, str) else repository.url
        self.lines: list[str] = []
        protocols = over.pop("git_protocols", ("https", "ssh", "http", "file"))
        app = make_app(directory, repository=url, branch=branch, **over)
        settings = make_settings(directory, git_protocols=protocols)
        paths = AppPaths(app, settings)
        self.path = paths.mirror
        self.checkout = GitMirror(app, settings, self.lines.append)

    def written(self, directory: Path) -> Path:
        """Fetch the head and write its files below a new directory."""
        commit = self.checkout.fetch_head()
        directory.mkdir()
        self.checkout.write(commit, directory)
        return directory


def content(tree: Path) -> dict[str, bytes]:
    """Return every regular file of a tree."""
    files = (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(tree)): path.read_bytes() for path in files}
