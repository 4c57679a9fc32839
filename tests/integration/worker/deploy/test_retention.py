"""Pruning: the directories that go, and those that stay."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from hookd.files.build_owner import COMPLETE_MARK
from hookd.files.ownership.audit import audit
from hookd.files.ownership.policies import Policy
from hookd.model.deployment import Status
from hookd.model.journal import AppState, Built, Good, Quarantined, Switched
from tests.support.processes import wait_for
from tests.support.tasks import Deploying, deploying, make_app
from tests.support.users import NOBODY, as_nobody, needs_root, open_directory
from worker.deploy import pipeline
from worker.deploy.retention import kept_releases, prune, prune_incomplete
from worker.errors import CommandFailed
from worker.journal import Journal
from worker.process.run import remove_tree
from worker.report.status import StatusPublisher


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Deploying]:
    """An app that keeps two good releases."""
    with deploying(tmp_path, make_app(tmp_path, limits={"keep_releases": 2})) as found:
        yield found


def build(at: Deploying, number: int, *, good: bool, venv: str = "used") -> str:
    """Put a release on disk and into the journal: a good one serves, a bad one does not."""
    task = at.task
    commit = f"{number:040x}"
    name = f"{number:06d}-{commit[:12]}"
    release = task.paths.release(name)
    release.mkdir()
    (task.paths.venvs / venv / "bin").mkdir(parents=True, exist_ok=True)
    (release / "venv").symlink_to(os.path.relpath(task.paths.venvs / venv, release))
    task.journal.add(Built(**task.stamp(), release=name, commit=commit))
    if good:
        task.journal.add(Switched(**task.stamp(), release=name), Good(**task.stamp(), release=name))
    else:
        task.journal.add(Quarantined(**task.stamp(), commit=commit, served=False, cause="bad"))
    return name


def numbers(at: Deploying) -> list[int]:
    return sorted(int(entry.name[:6]) for entry in at.task.paths.releases.iterdir() if entry.name[:6].isdigit())


def run_prune(at: Deploying) -> AppState:
    prune(at.task)
    return at.task.journal.state()


def test_keep_newest_good_releases(at: Deploying) -> None:
    for number in range(1, 6):
        build(at, number, good=True)
    state = run_prune(at)
    assert numbers(at) == [4, 5]
    assert [release.name[:6] for release in state.releases] == ["000004", "000005"]


def test_failed_releases_do_not_count(at: Deploying) -> None:
    for number in range(1, 9):
        build(at, number, good=number in (1, 2))
    run_prune(at)
    assert numbers(at) == [1, 2]


def test_keep_current_and_previous_good(at: Deploying) -> None:
    names = [build(at, number, good=True) for number in range(1, 6)]
    back = at.task.journal.add(Switched(**at.task.stamp(), release=names[0]), Good(**at.task.stamp(), release=names[0]))
    assert kept_releases(back, 2) == {names[0], names[4]}
    unverified = at.task.journal.add(Switched(**at.task.stamp(), release=names[1]))
    assert kept_releases(unverified, 2) == {names[0], names[1], names[4]}


@contextmanager
def process_in(directory: Path) -> Iterator[None]:
    """Start a process that works in a directory."""
    with subprocess.Popen(["sleep", "600"], cwd=directory) as process:
        try:
            wait_for(lambda: os.readlink(f"/proc/{process.pid}/cwd") == str(directory.resolve()), what="its directory")
            yield
        finally:
            process.kill()


@pytest.mark.threat(50)
def test_keep_release_in_use(at: Deploying) -> None:
    old = build(at, 1, good=True, venv="old")
    for number in range(2, 6):
        build(at, number, good=True)
    with process_in(at.task.paths.release(old)):
        run_prune(at)
        assert numbers(at) == [1, 4, 5]
        assert (at.task.paths.venvs / "old").is_dir()
    run_prune(at)
    assert numbers(at) == [4, 5]
    assert not (at.task.paths.venvs / "old").exists()


def test_prune_partial_and_unused(at: Deploying) -> None:
    build(at, 1, good=True)
    partial = at.task.paths.partial("000002-abcdefabcdef")
    partial.mkdir()
    (at.task.paths.venvs / "unused").mkdir()
    run_prune(at)
    assert not partial.exists()
    assert sorted(entry.name for entry in at.task.paths.venvs.iterdir()) == ["used"]


def test_unused_environments_stay_for_a_day(at: Deploying) -> None:
    """The next try of a first release that failed finds its environment."""
    build(at, 1, good=True)
    now = time.time()
    for name, age in {"new": 60, "newer": 30, "third": 120, "old": 90_000}.items():
        mark = at.task.paths.venvs / name / COMPLETE_MARK
        mark.parent.mkdir()
        mark.touch()
        os.utime(mark, (now - age, now - age))
    run_prune(at)
    assert sorted(entry.name for entry in at.task.paths.venvs.iterdir()) == ["new", "newer", "used"]
    for name in ("new", "newer"):
        os.utime(at.task.paths.venvs / name / COMPLETE_MARK, (now - 90_000, now - 90_000))
    run_prune(at)
    assert sorted(entry.name for entry in at.task.paths.venvs.iterdir()) == ["used"]


def test_foreign_entries_stay(at: Deploying, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    (at.task.paths.releases / "0-link").symlink_to(elsewhere)
    (at.task.paths.releases / "0-note.txt").write_text("x")
    (at.task.paths.venvs / "0-link").symlink_to(elsewhere)
    for number in range(1, 5):
        build(at, number, good=True)
    run_prune(at)
    assert numbers(at) == [3, 4]
    assert (elsewhere / "data").is_dir()


@pytest.mark.threat(77)
def test_prune_does_not_follow_links(at: Deploying, tmp_path: Path) -> None:
    """Uploads behind a link of an old release stay."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "photo").touch()
    old = build(at, 1, good=True)
    (at.task.paths.release(old) / "uploads").symlink_to(uploads)
    for number in range(2, 5):
        build(at, number, good=True)
    run_prune(at)
    assert numbers(at) == [3, 4]
    assert (uploads / "photo").exists()


def test_failed_removal_is_one_warning(at: Deploying, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other releases are still removed, and nothing goes back to the rest of this one."""
    names = [build(at, number, good=True) for number in range(1, 6)]

    def busy(tree: Path) -> None:
        """Fail as a person's file in the release would."""
        if tree.name == names[1]:
            raise CommandFailed("rm ended with status 1: Permission denied")
        remove_tree(tree)

    monkeypatch.setattr("worker.deploy.retention.remove_tree", busy)
    state = run_prune(at)
    assert numbers(at) == [2, 4, 5]
    assert state.release(names[1]) is None
    run_prune(at)
    assert at.text.count(f"a rest of the release {names[1]} stays") == 1
    assert "next: sudo hookd permissions shop --fix" in at.text
    monkeypatch.undo()
    run_prune(at)
    assert numbers(at) == [4, 5]


def test_lost_journal_stops_only_pruning(at: Deploying, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deployment keeps its own ending."""
    build(at, 1, good=True)

    def unreadable(_: Journal) -> AppState:
        raise OSError("Input/output error")

    monkeypatch.setattr(Journal, "state", unreadable)
    prune(at.task)
    assert numbers(at) == [1]
    assert "warning: pruning stopped: Input/output error" in at.text


def test_lost_journal_keeps_the_ending(at: Deploying, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_: Journal) -> AppState:
        raise OSError("Input/output error")

    ending = pipeline.Ending(Status.SUCCEEDED, head="a" * 40)
    monkeypatch.setattr(pipeline, "_deploy_locked", lambda *_: ending)
    monkeypatch.setattr(Journal, "state", unreadable)
    assert pipeline.run_pipeline(at.task, StatusPublisher(Redis())) is ending


def run_clear(at: Deploying) -> None:
    prune_incomplete(at.task, at.task.journal.state())


@pytest.mark.threat(50)
def test_prune_incomplete(at: Deploying) -> None:
    paths = at.task.paths
    build(at, 1, good=True)
    (paths.venvs / "used" / COMPLETE_MARK).touch()
    half = "000002-aaaaaaaaaaaa"
    for directory in (paths.partial("000003-bbbbbbbbbbbb"), paths.release(half), paths.venvs / "half" / "bin"):
        directory.mkdir(parents=True)
    (paths.root / ".current.0123abcd").symlink_to(f"releases/{half}")
    run_clear(at)
    assert [path.name for path in paths.releases.iterdir()] == ["000001-000000000000"]
    assert [path.name for path in paths.venvs.iterdir()] == ["used"]
    assert not list(paths.root.glob(".current.*"))


def test_linked_releases_survive_journal_loss(at: Deploying) -> None:
    paths = at.task.paths
    names = [build(at, number, good=True) for number in (1, 2, 3)]
    paths.journal.unlink()
    paths.current.symlink_to(f"releases/{names[1]}")
    paths.colour("blue").symlink_to(f"releases/{names[2]}")
    run_clear(at)
    assert numbers(at) == [2, 3]
    assert [path.name for path in paths.venvs.iterdir()] == ["used"]


@pytest.mark.threat(50)
def test_incomplete_release_in_use_stays(at: Deploying) -> None:
    half = at.task.paths.release("000002-aaaaaaaaaaaa")
    half.mkdir()
    with process_in(half):
        run_clear(at)
        assert half.exists()
    run_clear(at)
    assert not half.exists()


def test_failed_release_is_complete(at: Deploying) -> None:
    build(at, 1, good=True)
    build(at, 2, good=False)
    run_clear(at)
    assert numbers(at) == [1, 2]


@needs_root
def test_bytecode_of_root() -> None:
    """Root ran Python in an old release. The rest of it goes once `hookd permissions --fix` has changed its owner."""
    with open_directory() as directory:
        bytecode = directory / "srv/releases/000001-000000000000/shop/__pycache__/app.cpython-311.pyc"

        def prunes() -> tuple[int, list[int], bool]:
            with deploying(directory, make_app(directory, limits={"keep_releases": 2})) as at:
                run_prune(at)
                return at.text.count("warning:"), numbers(at), "permissions shop --fix" in at.text

        def builds() -> None:
            with deploying(directory, make_app(directory)) as at:
                for number in (1, 2, 3):
                    build(at, number, good=True)
                bytecode.parent.parent.mkdir()

        assert as_nobody(builds) == "None"
        bytecode.parent.mkdir()
        bytecode.touch()
        assert as_nobody(prunes) == str((1, [1, 2, 3], True))
        assert as_nobody(prunes) == str((0, [1, 2, 3], False))
        release = bytecode.parents[2]
        faults = list(audit(release, Policy(NOBODY, None), repairs=True))
        assert {Path(fault.path) for fault in faults} == {bytecode.parent, bytecode}
        assert as_nobody(prunes) == str((0, [2, 3], False))
