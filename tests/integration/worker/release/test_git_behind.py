"""The number of commits behind the head, counted by git in the app's mirror, without the network."""

import subprocess
from pathlib import Path

import pytest

from hookd.model.app import App
from hookd.model.journal import AppState, Release
from hookd.model.settings import AppPaths, Settings
from tests.support.repository import Repository
from tests.support.tasks import make_app, make_settings
from worker.release.git import commits_behind


class Mirrored:
    """An app whose mirror holds what its repository held."""

    def __init__(self, directory: Path) -> None:
        self.repository = Repository(directory / "repository")
        self.app: App = make_app(directory, repository="https://nowhere.invalid/shop.git")
        self.settings: Settings = make_settings(directory)
        self.mirror = AppPaths(self.app, self.settings).mirror

    def commit(self, text: str) -> str:
        return self.repository.commit_and_push({"file": text})

    def bring(self) -> None:
        """Bring all commits into the mirror, as fetches do."""
        if not self.mirror.exists():
            subprocess.run(("git", "init", "--quiet", "--bare", str(self.mirror)), check=True)
        self.git("fetch", "--quiet", "--force", self.repository.url, "+refs/heads/main:refs/hookd/head")

    def git(self, *arguments: str) -> None:
        subprocess.run(("git", f"--git-dir={self.mirror}", *arguments), check=True)

    def count(self, base: str, head: str) -> int | None:
        release = Release(name=f"000001-{base[:12]}", commit=base, good=True)
        state = AppState(releases=(release,), current=release.name, good_order=(release.name,))
        return commits_behind(self.app, self.settings, state, head)


@pytest.fixture
def mirrored(tmp_path: Path) -> Mirrored:
    return Mirrored(tmp_path)


@pytest.mark.threat(38)
@pytest.mark.promise(14)
def test_known_commits_are_counted(mirrored: Mirrored) -> None:
    first = mirrored.commit("1")
    mirrored.commit("2")
    last = mirrored.commit("3")
    mirrored.bring()
    assert (mirrored.count(first, last), mirrored.count(last, last)) == (2, None)


def test_missing_commit_is_not_fetched(mirrored: Mirrored) -> None:
    first = mirrored.commit("1")
    second = mirrored.commit("2")
    assert mirrored.count(first, second) is None, "there is no mirror yet"
    mirrored.bring()
    assert mirrored.count(first, mirrored.commit("3")) is None


@pytest.mark.threat(59)
def test_rewritten_history_has_no_number(mirrored: Mirrored) -> None:
    first = mirrored.commit("1")
    old = mirrored.commit("2")
    mirrored.bring()
    mirrored.repository.git("reset", "--quiet", "--hard", first)
    (mirrored.repository.work / "file").write_text("another 2")
    mirrored.repository.git("commit", "--quiet", "--all", "--message", "rewritten")
    mirrored.repository.git("push", "--quiet", "--force", "origin", "main")
    mirrored.bring()
    assert mirrored.count(old, mirrored.repository.head()) is None
