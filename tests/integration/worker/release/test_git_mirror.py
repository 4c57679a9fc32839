"""The head of a branch in real repositories: rewritten, recreated, damaged and unusual ones."""

import os
import shutil
import subprocess
from pathlib import Path
from shutil import which

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.mirrors import Mirror
from tests.support.repository import Repository
from worker.errors import DeployError, Unreachable


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit_and_push({"app.py": "VERSION = 1"}, message="first")
    return made


@pytest.fixture
def mirror(tmp_path: Path, repository: Repository) -> Mirror:
    return Mirror(tmp_path, repository)


def test_fetch_head_twice(mirror: Mirror, repository: Repository) -> None:
    assert mirror.checkout.fetch_head() == repository.head()
    assert mirror.checkout.fetch_head() == repository.head()
    newer = repository.commit_and_push({"app.py": "VERSION = 2"})
    assert mirror.checkout.fetch_head() == newer


def test_other_branch_is_ignored(mirror: Mirror, repository: Repository) -> None:
    head = repository.head()
    repository.commit({"app.py": "other"})
    repository.push("feature")
    assert mirror.checkout.fetch_head() == head


@pytest.mark.threat(59)
def test_rewritten_branch(mirror: Mirror, repository: Repository) -> None:
    mirror.checkout.fetch_head()
    repository.git("commit", "-q", "--amend", "-m", "rewritten")
    repository.push()
    assert mirror.checkout.fetch_head() == repository.head()
    assert mirror.checkout.describe(repository.head()).subject == "rewritten"


def test_sha256_repository(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "long", "sha256")
    head = repository.commit_and_push({"app.py": "x"})
    mirror = Mirror(tmp_path, repository)
    assert mirror.checkout.fetch_head() == head
    assert len(head) == 64
    assert mirror.checkout.resolve(head[:12]) == head


@pytest.mark.threat(59)
@pytest.mark.parametrize(("before", "after"), [("sha1", "sha256"), ("sha256", "sha1")])
def test_changed_object_format(tmp_path: Path, before: str, after: str) -> None:
    old = Repository(tmp_path / "repo", before)
    old.commit_and_push({"app.py": "old"})
    mirror = Mirror(tmp_path, old)
    mirror.checkout.fetch_head()
    shutil.rmtree(tmp_path / "repo")
    head = Repository(tmp_path / "repo", after).commit_and_push({"app.py": "new"})
    assert mirror.checkout.fetch_head() == head


@pytest.mark.threat(59)
def test_deleted_branch(mirror: Mirror, repository: Repository) -> None:
    mirror.checkout.fetch_head()
    (repository.bare / "refs" / "heads" / "main").unlink()
    with pytest.raises(DeployError, match=r"file://.* has no branch main, it is empty$"):
        mirror.checkout.fetch_head()
    assert mirror.path.exists()


@pytest.mark.parametrize("fetched_before", [False, True])
def test_missing_branch(tmp_path: Path, repository: Repository, fetched_before: bool) -> None:
    """The branches are named, at most five of them."""
    if fetched_before:
        Mirror(tmp_path, repository).checkout.fetch_head()
    for number in range(6):
        repository.push(f"old/{number}")
    with pytest.raises(Unreachable, match=r"it has main, old/0, old/1, old/2, old/3 and 2 more$") as caught:
        Mirror(tmp_path, repository, branch="nope").checkout.fetch_head()
    assert caught.value.hint == Hint(HintKind.SET_BRANCH, "main")


def test_full_disk(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that finds no space, as the kernel says it."""
    mirror = Mirror(tmp_path, repository)
    mirror.checkout.fetch_head()
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    text = "fatal: unable to create 'x': No space left on device\nfatal: fetch-pack: invalid index-pack output"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *" fetch "*) echo "{text}" >&2; exit 128;; esac\nexec {which("git")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    repository.commit_and_push({"app.py": "VERSION = 2"})
    with pytest.raises(DeployError, match="no space is left in") as caught:
        Mirror(tmp_path, repository).checkout.fetch_head()
    assert caught.value.hint == Hint(HintKind.SHOW_DISK_SPACE, str(mirror.path.parent))


def test_missing_repository(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"ended with status 128: fatal: .* does not appear to be a git repository$"):
        Mirror(tmp_path, f"file://{tmp_path}/nothing").checkout.fetch_head()


def test_unreachable_repository_keeps_mirror(mirror: Mirror, repository: Repository) -> None:
    mirror.checkout.fetch_head()
    kept = os.listdir(mirror.path)
    repository.bare.rename(f"{repository.bare}.away")
    with pytest.raises(DeployError):
        mirror.checkout.fetch_head()
    assert os.listdir(mirror.path) == kept


@pytest.mark.threat(16)
def test_tag_with_branch_name(mirror: Mirror, repository: Repository) -> None:
    head = repository.head()
    repository.commit({"app.py": "tagged"})
    repository.git("push", "-q", "origin", "HEAD:refs/tags/main")
    assert mirror.checkout.fetch_head() == head


def test_nested_branch_name(mirror: Mirror, repository: Repository) -> None:
    """git lists refs/heads/a/refs/heads/main, too, and first."""
    head = repository.head()
    repository.commit({"app.py": "decoy"})
    repository.git("push", "-q", "origin", "HEAD:refs/heads/a/refs/heads/main")
    assert mirror.checkout.fetch_head() == head


@pytest.mark.threat(16)
def test_ref_like_an_option(mirror: Mirror, repository: Repository, tmp_path: Path) -> None:
    ref = f"refs/heads/--upload-pack=touch${{IFS}}{tmp_path}/ran"
    (repository.bare / "packed-refs").write_text(f"{repository.head()} {ref}\n")
    listed = subprocess.run(["git", "ls-remote", repository.url], capture_output=True, text=True, check=True)
    assert "--upload-pack=" in listed.stdout
    assert mirror.checkout.fetch_head() == repository.head()
    assert not (tmp_path / "ran").exists()


@pytest.mark.threat(16)
def test_untrusted_commit_name(mirror: Mirror, tmp_path: Path) -> None:
    mirror.checkout.fetch_head()
    for text in (f"--output={tmp_path}/ran", "--all", "-h", "HEAD", "nope", "deadbee", ""):
        with pytest.raises(DeployError, match="is not in file://"):
            mirror.checkout.resolve(text)
    assert not (tmp_path / "ran").exists()


def test_resolve_commit(mirror: Mirror, repository: Repository) -> None:
    older = repository.head()
    repository.commit_and_push({"app.py": "VERSION = 2"})
    mirror.checkout.fetch_head()
    assert mirror.checkout.resolve(older[:8]) == older


def test_describe_commit(mirror: Mirror, repository: Repository) -> None:
    repository.commit_and_push({"app.py": "2"}, message="\x1b[31mred\n\nbody")
    about = mirror.checkout.describe(mirror.checkout.fetch_head())
    assert (about.author, about.subject) == ("Ada Lovelace", "\x1b[31mred")


LEFTOVERS = [
    *("HEAD.lock", "packed-refs.lock", "config.lock", "shallow.lock", "refs/hookd/head.lock", "hookd-index.lock"),
    *("objects/pack/tmp_pack_x", "objects/pack/tmp_idx_x", "objects/ab/tmp_obj_x", "objects/tmp_objdir-x/ab/y"),
    *("objects/pack/.tmp-1-pack-x.pack", "objects/info/commit-graphs/commit-graph-chain.lock", "packed-refs.new"),
    *("../shop.new/HEAD", "../shop.broken/HEAD", "lfs/incomplete/x.part", "lfs/tmp/x"),
]


@pytest.mark.threat(19)
def test_leftovers_of_killed_git(mirror: Mirror, repository: Repository, tmp_path: Path) -> None:
    mirror.checkout.fetch_head()
    for number, stale in enumerate(LEFTOVERS):
        (mirror.path / stale).parent.mkdir(parents=True, exist_ok=True)
        (mirror.path / stale).touch()
        newer = repository.commit_and_push({"app.py": f"VERSION = {number}"})
        assert (mirror.written(tmp_path / str(number)) / "app.py").read_text() == f"VERSION = {number}", stale
        assert mirror.checkout.fetch_head() == newer, stale
        assert not (mirror.path / stale).exists(), stale


@pytest.mark.threat(19)
@pytest.mark.parametrize("damaged", ["refs/hookd/head", "objects/pack/*.pack", "HEAD"])
def test_damaged_mirror(mirror: Mirror, repository: Repository, damaged: str) -> None:
    mirror.checkout.fetch_head()
    (path,) = mirror.path.glob(damaged)
    path.chmod(0o644)
    path.write_bytes(b"")
    newer = repository.commit_and_push({"app.py": "VERSION = 2"})
    assert mirror.checkout.fetch_head() == newer


@pytest.mark.threat(19)
def test_incomplete_mirror(mirror: Mirror, repository: Repository) -> None:
    half = mirror.path.with_suffix(".new")
    (half / "refs").mkdir(parents=True)
    assert mirror.checkout.fetch_head() == repository.head()
    assert not half.exists()


@pytest.mark.threat(19)
@pytest.mark.parametrize("lost", ["refs", "objects", "HEAD"])
def test_partly_removed_mirror(mirror: Mirror, repository: Repository, lost: str) -> None:
    mirror.checkout.fetch_head()
    shutil.rmtree(mirror.path / "refs" / "hookd")
    path = mirror.path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert mirror.checkout.fetch_head() == repository.head()


def test_no_process_remains(mirror: Mirror) -> None:
    mirror.checkout.fetch_head()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_worker_git_variables_are_ignored(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "state" / "home" / "shop"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text(f"[core]\nhooksPath = {tmp_path}/hooks\n[url \"file:///nowhere\"]\n"
                                     f"insteadOf = {repository.url}\n")  # fmt: skip
    monkeypatch.setenv("HOME", str(home))
    assert Mirror(tmp_path, repository).checkout.fetch_head() == repository.head()


def test_missing_git(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeployError, match="git is not installed"):
        Mirror(tmp_path, repository).checkout.fetch_head()
