"""The build of a release, also beside the leftovers of a killed deployment."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hookd.model.journal import AppState
from tests.support.builds import build_head
from tests.support.repository import Repository
from tests.support.tasks import deploying, make_app
from tests.support.users import needs_root
from worker.errors import CommandFailed, CommitRefused, DeployError
from worker.release.disk_space import check_free_space


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.commit_and_push({"app.py": "VERSION = 1", "tool.sh": "#!/bin/sh\n"})
    return made


def test_build_complete_release(tmp_path: Path, repository: Repository) -> None:
    name, _ = build_head(tmp_path)
    release = tmp_path / "srv" / "releases" / name
    assert name == f"000001-{repository.head()[:12]}"
    assert sorted(entry.name for entry in release.iterdir()) == ["REVISION", "app.py", "tool.sh", "venv"]
    assert (release / "venv" / "bin" / "python").exists()
    with deploying(tmp_path) as at:
        assert [known.name for known in at.task.journal.state().releases] == [name]


@pytest.mark.threat(50)
@pytest.mark.parametrize("left", ["{name}", ".{name}.partial"])
def test_build_beside_leftovers(tmp_path: Path, repository: Repository, left: str) -> None:
    leftover = tmp_path / "srv" / "releases" / left.format(name=f"000001-{repository.head()[:12]}")
    leftover.mkdir(parents=True)
    (leftover / "half").touch()
    name, _ = build_head(tmp_path)
    assert name.startswith("000002-")


def test_build_after_journal_loss(tmp_path: Path, repository: Repository) -> None:
    """The release that serves is not overwritten."""
    first, _ = build_head(tmp_path)
    serving = tmp_path / "srv" / "releases" / first
    (tmp_path / "state" / "journals" / "shop.jsonl").unlink()
    again, _ = build_head(tmp_path)
    assert again != first
    assert (serving / "app.py").read_text() == "VERSION = 1"
    assert repository.head()[:12] in again


@pytest.mark.threat(30)
@pytest.mark.parametrize(
    ("over", "error", "cause"),
    [
        ({"build": {"commands": [["false"]]}}, CommandFailed, "false ended with status 1"),
        ({"build": {"commands": [["rm", "app.py"], ["no-such"]]}}, CommandFailed, "there is no program no-such"),
        ({"build": {"commands": [["sh", "-c", "rm venv; ln -s / venv"]]}}, CommitRefused, "replaced the link venv"),
        ({"build": {"commands": [["sh", "-c", "rm venv"]]}}, CommitRefused, "replaced the link venv"),
        ({"service": {"preflight": ["sh", "-c", "echo no >&2; exit 4"]}}, CommitRefused, "does not start .*: no$"),
        ({"build": {"commands": [["mkfifo", "pipe"]]}}, CommitRefused, "pipe is neither a file"),
        ({"shared": {"files": ["app.py"]}}, CommitRefused, "the commit contains app.py"),
        ({"shared": {"files": ["missing"]}}, DeployError, "the shared file missing is missing"),
    ],
)
def test_failed_build_leaves_nothing(
    tmp_path: Path, repository: Repository, over: dict[str, Any], error: type[DeployError], cause: str
) -> None:
    assert repository.head()
    with pytest.raises(error, match=cause):
        build_head(tmp_path, **over)
    assert os.listdir(tmp_path / "srv" / "releases") == []
    with deploying(tmp_path) as at:
        assert at.task.journal.state() == AppState()


def test_build_command_environment(tmp_path: Path, repository: Repository) -> None:
    code = "import os, sys; print(os.getcwd(), sys.prefix, os.environ['MODE'], os.environ['HOOKD_APP'], sep='\\n')"
    build_table = {"commands": [["python", "-c", code]], "environment": {"MODE": "strict"}}
    name, log = build_head(tmp_path, build=build_table)
    release = tmp_path / "srv" / "releases" / name
    shown = [line.split()[-1] for line in log.splitlines() if line.split()[1] == "build"]
    assert shown[-5:-1] == [str(release), str(release / "venv"), "strict", "shop"]
    assert repository.head()[:12] in name


@pytest.mark.threat(30)
@pytest.mark.parametrize(
    ("limits", "cause"),
    [({"free_mib": 1 << 40}, "MiB free"), ({"free_mib": 1, "free_inodes": 1 << 60}, "inodes free")],
)
def test_nearly_full_disk(tmp_path: Path, limits: dict[str, int], cause: str) -> None:
    with deploying(tmp_path, make_app(tmp_path, limits=limits)) as at, pytest.raises(DeployError, match=cause):
        check_free_space(at.task)


@pytest.mark.threat(30)
@needs_root
@pytest.mark.parametrize("status", [0, 1])
def test_disk_fills_up_during_check(tmp_path: Path, repository: Repository, status: int) -> None:
    """The commit is not to blame."""
    script = f"head -c 200M /dev/zero >filler; exit {status}"
    over = {"service": {"preflight": ["sh", "-c", script]}, "limits": {"free_mib": 8, "free_inodes": 0}}
    disk = tmp_path / "srv"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        with pytest.raises(DeployError, match="0 MiB free") as caught:
            build_head(tmp_path, **over)
        assert not isinstance(caught.value, CommitRefused)
        assert not list((disk / "releases").iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
