"""Submodules of real repositories: fetched into a release, and refused where their address or their tree is unsafe."""

import os
import re
from pathlib import Path

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.builds import build_head
from tests.support.repository import Repository
from tests.support.tasks import make_app, make_settings
from worker.errors import CommitRefused, DeployError
from worker.release.checkout import read_checkout
from worker.release.git_mirror import GitMirror

SKIP = Hint(HintKind.SKIP_SUBMODULES)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.commit_and_push({"app.py": "x"})
    return made


@pytest.fixture
def inner(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "inner")
    made.commit_and_push({"theme.css": "first"})
    return made


def release(directory: Path, name: str) -> Path:
    return directory / "srv" / "releases" / name


def mirrors(directory: Path) -> list[Path]:
    return sorted((directory / "state" / "mirrors" / "shop.git").glob("hookd-submodules/*"))


@pytest.mark.parametrize("address", ["{url}", "../inner/remote.git", "./../inner/remote.git/"])
def test_pinned_commit_is_written(tmp_path: Path, repository: Repository, inner: Repository, address: str) -> None:
    pinned = inner.head()
    inner.commit_and_push({"theme.css": "second"})
    repository.add_submodule("static/theme", address.format(url=inner.url), pinned)
    repository.commit_index()
    name, log = build_head(tmp_path)
    assert (release(tmp_path, name) / "static/theme/theme.css").read_text() == "first"
    assert f"the submodule static/theme is {pinned}" in log


def test_nested_submodule(tmp_path: Path, repository: Repository, inner: Repository) -> None:
    """A relative address counts from the repository that names it."""
    deepest = Repository(tmp_path / "inner" / "deepest")
    inner.add_submodule("icons", "../deepest/remote.git", deepest.commit_and_push({"cart.svg": "<svg/>"}))
    inner.commit_index()
    repository.add_submodule("theme", inner.url, inner.head())
    repository.commit_index()
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "theme/icons/cart.svg").read_text() == "<svg/>"


def test_moved_submodule_needs_one_fetch(tmp_path: Path, repository: Repository, inner: Repository) -> None:
    """The mirror of a known commit needs no git host, and one that no commit uses any more goes."""
    repository.add_submodule("theme", inner.url, inner.head())
    repository.commit_index()
    build_head(tmp_path)
    inner.bare.rename(f"{inner.bare}.away")
    repository.git("commit", "-q", "--allow-empty", "-m", "again")
    repository.push()
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "theme/theme.css").exists()
    assert len(mirrors(tmp_path)) == 1
    repository.git("rm", "-q", "--cached", "theme", ".gitmodules")
    repository.commit_index()
    build_head(tmp_path)
    assert mirrors(tmp_path) == []


@pytest.mark.threat(19)
@pytest.mark.parametrize("damaged", ["objects/pack/*.pack", "HEAD"])
def test_damaged_mirror_of_a_submodule(tmp_path: Path, repository: Repository, inner: Repository, damaged: str) -> None:
    repository.add_submodule("theme", inner.url, inner.head())
    repository.commit_index()
    build_head(tmp_path)
    (mirror,) = mirrors(tmp_path)
    (path,) = mirror.glob(damaged)
    path.chmod(0o644)
    path.write_bytes(b"")
    name, _ = build_head(tmp_path)
    assert (release(tmp_path, name) / "theme/theme.css").read_text() == "first"


@pytest.mark.parametrize("over", [{"checkout": {"submodules": False}}, {}])
def test_submodule_stays_empty(
    tmp_path: Path, repository: Repository, inner: Repository, over: dict[str, dict[str, bool]]
) -> None:
    """A person turned it off, or the repository itself has no address for it, as after `git add` of a clone."""
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{inner.head()},theme")
    if over:
        repository.add_submodule("theme", inner.url, inner.head())
    repository.commit_index()
    name, log = build_head(tmp_path, **over)
    assert os.listdir(release(tmp_path, name) / "theme") == []
    assert "the submodule theme stays empty" in log


@pytest.mark.threat(16, 17)
@pytest.mark.parametrize(
    "address",
    [
        "../../../../etc/../x y",
        "/etc",
        "ext::touch ran",
        "https://ada:canary@git.example.org/x.git",
        "http://git.example.org/x.git",
        "ssh://-oProxyCommand=id/x",
        "git@git.example.org:-x",
        "file:///etc/x.git",
    ],
)
def test_refused_address(tmp_path: Path, repository: Repository, inner: Repository, address: str) -> None:
    """For an app whose own repository is behind https. Only its mirror is read here, as after a fetch."""
    repository.add_submodule("theme", address, inner.head())
    repository.commit_index()
    with pytest.raises(DeployError) as caught:
        build_with_address(tmp_path, "https://git.example.org/acme/shop.git")
    assert "theme" in caught.value.cause or "gitmodulesUrl" in caught.value.cause
    assert not isinstance(caught.value, CommitRefused)


def build_with_address(directory: Path, url: str) -> None:
    """Fetch from the disk, then read the checkout of an app with another address."""
    settings = make_settings(directory)
    commit = GitMirror(make_app(directory), settings, print).fetch_head()
    strict = make_settings(directory, git_protocols=("https", "ssh"))
    read_checkout(GitMirror(make_app(directory, repository=url), strict, print), commit, print)


def test_unreachable_submodule(tmp_path: Path, repository: Repository, inner: Repository) -> None:
    gone = f"file://{tmp_path}/gone.git"
    repository.add_submodule("theme", gone, inner.head())
    repository.commit_index()
    with pytest.raises(DeployError, match=re.escape(f"the submodule theme ({gone}) cannot be fetched")) as caught:
        build_head(tmp_path)
    assert caught.value.hint == SKIP
    assert not isinstance(caught.value, CommitRefused)


def test_unpushed_submodule_commit(tmp_path: Path, repository: Repository, inner: Repository) -> None:
    unpushed = inner.commit({"theme.css": "local"})
    repository.add_submodule("theme", inner.url, unpushed)
    repository.commit_index()
    with pytest.raises(DeployError, match=f"lacks the commit {unpushed[:12]}"):
        build_head(tmp_path)


@pytest.mark.threat(18)
def test_submodule_over_shared_directory(tmp_path: Path, repository: Repository, inner: Repository) -> None:
    repository.add_submodule("theme", inner.url, inner.commit_and_push({"x/photo.jpg": "x"}))
    repository.commit_index()
    with pytest.raises(CommitRefused, match=r"the commit contains theme/x/photo\.jpg"):
        build_head(tmp_path, shared={"directories": ["theme/x"]})


@pytest.mark.threat(18)
def test_link_out_of_a_submodule(tmp_path: Path, repository: Repository, inner: Repository) -> None:
    (inner.work / "away").symlink_to("../../elsewhere")
    inner.commit_all()
    repository.add_submodule("theme", inner.url, inner.push())
    repository.commit_index()
    with pytest.raises(CommitRefused, match="a link that leads out of it: theme/away"):
        build_head(tmp_path)


@pytest.mark.threat(60)
def test_submodule_of_itself(tmp_path: Path, repository: Repository) -> None:
    """Each commit names the one before it, which lies deeper by one level."""
    for _ in range(7):
        repository.git("rm", "-q", "--cached", "--ignore-unmatch", "me")
        (repository.work / ".gitmodules").unlink(missing_ok=True)
        repository.add_submodule("me", repository.url, repository.head())
        repository.commit_index()
    with pytest.raises(CommitRefused, match="submodules below 5 others"):
        build_head(tmp_path)


@pytest.mark.parametrize("missing", ["1" * 40, None])
def test_failed_checkout_leaves_no_mirror(
    tmp_path: Path, repository: Repository, inner: Repository, missing: str | None
) -> None:
    """A submodule without its commit, and one that an unreachable second one follows."""
    repository.add_submodule("theme", inner.url, missing or inner.head())
    repository.add_submodule("zone", f"file://{tmp_path}/gone.git", inner.head())
    repository.commit_index()
    with pytest.raises(DeployError):
        build_head(tmp_path)
    assert len(mirrors(tmp_path)) == (0 if missing else 1)
