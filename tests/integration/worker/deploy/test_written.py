"""Files that an app wrote into its release: named, kept when it is removed, and forgotten when they are gone."""

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status
from hookd.model.journal import Built, Good, Release, Switched
from hookd.model.written import WrittenFiles
from tests.support.installation import Installation, app_files
from tests.support.tasks import Deploying, deploying, make_app
from worker.deploy.retention import prune
from worker.deploy.written import record_release, report_written

_ARCHIVE = gzip.compress(b"x y", mtime=0)
APPS: dict[str, dict[str, Any]] = {"bg": {"handover": "blue-green"}, "one": {"handover": "restart"}}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Deploying]:
    """An app that keeps two good releases."""
    with deploying(tmp_path, make_app(tmp_path, limits={"keep_releases": 2})) as found:
        yield found


def release(at: Deploying, number: int) -> Path:
    """Make a good release with files of a commit and of a build, and its record."""
    task, commit = at.task, f"{number:040x}"
    name = f"{number:06d}-{commit[:12]}"
    path = task.paths.release(name)
    (path / "shop" / "static").mkdir(parents=True)
    (path / "shop" / "app.py").write_text("x")
    (path / "shop" / "static" / "built.css").write_text("x")
    (task.paths.venvs / "used").mkdir(exist_ok=True)
    (path / "venv").symlink_to("../../venvs/used")
    record_release(task, name)
    task.journal.add(
        Built(**task.stamp(), release=name, commit=commit),
        Switched(**task.stamp(), release=name),
        Good(**task.stamp(), release=name),
    )
    return path


def write(path: Path, content: str = "data") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def report(at: Deploying, path: Path) -> tuple[WrittenFiles, ...]:
    report_written(at.task, Release(name=path.name, commit="0" * 40))
    return tuple(one.files for one in at.task.journal.state().written)


def test_new_and_changed_files_are_named(at: Deploying) -> None:
    """A data directory, a file among the code, a changed file of the commit, and an old file that was copied."""
    path = release(at, 1)
    write(path / "instance" / "deep" / "shop.db")
    write(path / "shop.db")
    write(path / "shop" / "app.py", "changed")
    write(path / "instance" / "copied")
    os.utime(path / "instance" / "copied", (1, 1))
    (found,) = report(at, path)
    assert found.paths == ("instance/copied", "instance/deep/shop.db", "shop.db", "shop/app.py")
    assert (found.number, found.directories) == (4, ("instance",))
    assert "--set 'shared.directories=[\"instance\"]'" in at.text


def test_list_is_bounded(at: Deploying) -> None:
    path = release(at, 1)
    write(path / os.fsdecode(b"caf\xe9") / "x")
    for number in range(39):
        write(path / f"data{number:02d}" / "x\n")
    (found,) = report(at, path)
    assert (found.number, len(found.paths), len(found.directories)) == (40, 5, 5)
    assert "and 35 more" in str(found)
    assert str(found).isprintable()


def test_caches_and_links_are_no_data(at: Deploying, tmp_path: Path) -> None:
    path = release(at, 1)
    write(path / "shop" / "__pycache__" / "app.cpython-311.pyc")
    write(path / ".pytest_cache" / "x")
    write(path / "gunicorn.pid")
    (path / "uploads").symlink_to(tmp_path)
    os.mkfifo(path / "pipe")
    (path / "empty").mkdir()
    (path / "shop" / "app.py").chmod(0o600)
    assert report(at, path) == ()


@pytest.mark.threat(94)
def test_files_outlive_their_release(at: Deploying) -> None:
    first = release(at, 1)
    write(first / "instance" / "shop.db", "customers")
    write(first / "shop" / "static" / "photo.jpg", "photo")
    for number in (2, 3):
        release(at, number)
    prune(at.task)
    assert not first.exists()
    kept = at.task.paths.kept / first.name
    assert (kept / "instance" / "shop.db").read_text() == "customers"
    assert (kept / "shop" / "static" / "photo.jpg").read_text() == "photo"
    assert not (kept / "shop" / "app.py").exists()
    (found,) = (one.files for one in at.task.journal.state().written)
    assert (found.kept, found.number, found.directories) == (True, 2, ("instance",))
    at.task.journal.shorten()
    prune(at.task)
    assert kept.exists()
    assert len(at.task.journal.state().written) == 1
    shutil.rmtree(at.task.paths.kept)
    prune(at.task)
    assert at.task.journal.state().written == ()


def test_files_that_cannot_move_stay(at: Deploying) -> None:
    """The place of the kept files is taken."""
    first = release(at, 1)
    write(first / "instance" / "shop.db", "customers")
    write(at.task.paths.kept / first.name / "instance" / "other")
    for number in (2, 3):
        release(at, number)
    prune(at.task)
    assert (first / "instance" / "shop.db").read_text() == "customers"
    assert "cannot be kept" in at.text


@pytest.mark.parametrize(
    "damage",
    [None, b"", b"no archive", _ARCHIVE[:-9], _ARCHIVE],
    ids=["missing", "empty", "not an archive", "cut", "not a record"],
)
def test_release_without_a_record(at: Deploying, damage: bytes | None) -> None:
    """A release of an older hookd, and one from before a power cut."""
    first = release(at, 1)
    record = at.task.paths.record(first.name)
    record.unlink() if damage is None else record.write_bytes(damage)
    for number in (2, 3):
        release(at, number)
    assert report(at, first) == ()
    prune(at.task)
    assert not first.exists()


def test_records_go_with_their_releases(at: Deploying) -> None:
    names = [release(at, number).name for number in (1, 2, 3)]
    prune(at.task)
    assert sorted(record.stem for record in at.task.paths.records.iterdir()) == names[1:]


def test_same_files_are_named_once(at: Deploying) -> None:
    path = release(at, 1)
    write(path / "instance" / "shop.db")
    report(at, path)
    report(at, path)
    assert at.text.count("warning:") == 1


# Makes a secret at its import, which the check does first, and counts its visitors in a file.
WRITES = """
import os
os.makedirs(".data", exist_ok=True)
if not os.path.exists(".data/secret_key"):
    open(".data/secret_key", "w").write({version!r})
def app(environ, start_response):
    open(".data/visits", "a").write("one")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [open(".data/secret_key").read().encode()]
"""


@pytest.mark.threat(94)
@pytest.mark.parametrize("app", APPS)
def test_written_files_are_published(site: Installation, app: str) -> None:
    """Each deployment names those of the release that stopped serving."""
    for version in ("one", "two"):
        deployment = site.ship(app, {**app_files(version), "wsgi.py": WRITES.format(version=version)})
        assert (deployment.status, site.serving(app)) == (Status.SUCCEEDED, version)
    (found,) = site.status(app).written
    assert found.release.startswith("000001")
    assert found.paths == (".data/secret_key", ".data/visits")
    assert f"sudo hookd app edit {app} --set 'shared.directories=[\".data\"]'" in site.log_of(deployment)


def test_paths_may_be_long(at: Deploying) -> None:
    """The system takes no path of 5000 letters, but each directory can be opened from the one above."""
    path, name = release(at, 1), "d" * 250
    start = os.open(path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir(name, dir_fd=start)
        above, start = start, os.open(name, os.O_RDONLY, dir_fd=start)
        os.close(above)
    record_release(at.task, path.name)
    os.close(os.open("data", os.O_CREAT | os.O_WRONLY, dir_fd=start))
    os.close(start)
    (found,) = report(at, path)
    assert found.number == 1
