"""`hookd permissions APP` in an app's data: what a deployment's user left there becomes the app's."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.hosts import WEB, WORKER, Host, host
from tests.support.processes import PROJECT
from tests.support.programs import program
from units.apps.permissions import PermissionReport, check_permissions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
STRANGER = "games"
RIGHT = "shop: all paths match the policy group"


@pytest.fixture(autouse=True)
def _protected_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repair as on a kernel that protects hard links, whatever this machine does."""
    monkeypatch.setattr("hookd.files.ownership.repair.links_are_protected", lambda: True)


@pytest.fixture
def at() -> Iterator[Host]:
    with host("group") as made:
        made.deploy()
        yield made


@pytest.fixture
def uploads(at: Host) -> Path:
    return at.root / "shared" / "uploads"


def ask(at: Host, *, fix: bool = False) -> PermissionReport:
    return check_permissions(at.app(), at.settings, fix=fix, worker=WORKER)


def make(path: Path, user: str, group: str, mode: int) -> Path:
    """Make a file, or a directory for a name without a dot."""
    if path.suffix:
        path.write_text("x")
    else:
        path.mkdir()
    shutil.chown(path, user, group)
    path.chmod(mode)
    return path


def attributes(path: Path) -> tuple[str, str, int]:
    return path.owner(), path.group(), stat.S_IMODE(path.stat().st_mode)


LEFTOVERS = [
    ("a.db", (WORKER, WEB, 0o640), 0o640),
    ("b.db", ("root", "root", 0o600), 0o600),
    ("c.db", (WORKER, WEB, 0o660), 0o660),
    ("d.db", ("root", "root", 0o666), 0o666),
    ("e.db", (STRANGER, STRANGER, 0o644), 0o644),
    ("f.db", ("root", "root", 0o440), 0o640),
    ("g.db", ("root", "root", 0o6755), 0o755),
    ("cache", (WORKER, "nogroup", 0o2750), 0o2750),
    ("spool", ("root", "root", 0o500), 0o700),
]


@pytest.mark.promise(53)
@pytest.mark.parametrize(("name", "found", "after"), LEFTOVERS)
def test_leftover_becomes_the_apps(at: Host, uploads: Path, name: str, found: tuple[str, str, int], after: int) -> None:
    user, group, mode = found
    path = make(uploads / name, user, group, mode)
    inside = make(path / "page.html", user, group, 0o640) if path.is_dir() else path
    report = ask(at)
    line = f"{path} is {user}:{group} {mode:04o}, should be {WEB}:{WEB} {after:04o}"
    assert line in list(report.lines()) and report.repair == "sudo hookd permissions shop --fix"
    assert attributes(path) == found, "listing repairs nothing"
    assert ask(at, fix=True).exit_status == 0
    assert attributes(path) == (WEB, WEB, after)
    assert at.as_app(lambda: inside.open("a").close()) == "None"
    assert list(ask(at).lines()) == [RIGHT]


def test_writable_data_keeps_its_owner(at: Host, uploads: Path) -> None:
    kept = [
        make(uploads / "own.db", WEB, WEB, 0o400),
        make(uploads / "shared.db", STRANGER, WEB, 0o660),
        make(uploads / "open", STRANGER, STRANGER, 0o777),
    ]
    before = [attributes(path) for path in kept]
    assert list(ask(at, fix=True).lines()) == [RIGHT]
    assert [attributes(path) for path in kept] == before


def migrate(database: Path, journal: str) -> None:
    """Begin a migration and die in its middle, which leaves files beside the database."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("create table goods (name)")
    connection.execute(f"pragma journal_mode = {journal}")
    connection.execute("pragma cache_size = 1")
    connection.execute("begin")
    for _ in range(200):
        connection.execute("insert into goods values (hex(randomblob(5000)))")
    os._exit(0)


@pytest.mark.parametrize(
    ("journal", "left"),
    [("wal", {"shop.db", "shop.db-wal", "shop.db-shm"}), ("delete", {"shop.db", "shop.db-journal"})],
)
def test_database_of_a_migration(at: Host, uploads: Path, journal: str, left: set[str]) -> None:
    database = uploads / "shop.db"
    assert at.as_worker(lambda: migrate(database, journal)) == "", "it has no result"
    assert {path.name for path in uploads.iterdir()} == left
    assert "OperationalError" in at.as_app(lambda: add_row(database))
    assert {Path(finding.path).name for finding in ask(at, fix=True).findings} == left
    assert at.as_app(lambda: add_row(database)) == "1"


def add_row(database: Path) -> int:
    """Add a row as the app does, and return the number of rows."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("insert into goods values ('mine')")
        return int(connection.execute("select count(*) from goods").fetchone()[0])


def test_worker_gives_nothing_away(at: Host, uploads: Path) -> None:
    path = make(uploads / "a.db", WORKER, WEB, 0o640)
    lines = at.as_worker(lambda: "\n".join(ask(at, fix=True).lines())).splitlines()
    assert lines[0].startswith(f"{path} is ") and lines[0].endswith("(only root can give it away)")
    assert lines[-1] == "  next: sudo hookd permissions shop --fix"
    assert attributes(path) == (WORKER, WEB, 0o640)


@pytest.mark.threat(24)
def test_links_and_special_files_are_skipped(at: Host, uploads: Path) -> None:
    secret = make(at.directory / "secret.txt", "root", "root", 0o600)
    (uploads / "link").symlink_to(secret)
    (uploads / "directory").symlink_to(at.directory)
    os.mkfifo(uploads / "pipe")
    before = {path: path.lstat() for path in (secret, *uploads.iterdir())}
    assert list(ask(at, fix=True).lines()) == [RIGHT]
    assert {path: path.lstat() for path in before} == before


@pytest.mark.threat(24)
def test_second_name_is_refused(at: Host, uploads: Path) -> None:
    secret = make(at.directory / "secret.txt", "root", "root", 0o600)
    os.link(secret, uploads / "stolen.txt")
    report = ask(at, fix=True)
    assert (attributes(secret), report.repair) == (("root", "root", 0o600), None)
    advice = "(it has a second name, perhaps another user's: replace it with a copy)"
    assert [str(finding).endswith(advice) for finding in report.left] == [True]
    assert list(report.lines())[-1] == "shop: 1 path left for you to decide: see above"


def test_other_disk_is_left_alone(at: Host, uploads: Path) -> None:
    disk = make(uploads / "disk", WEB, WEB, 0o770)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        path = make(disk / "a.db", "root", "root", 0o600)
        assert list(ask(at, fix=True).lines()) == [RIGHT]
        assert attributes(path) == ("root", "root", 0o600)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_acl_of_another_user_is_respected(at: Host, uploads: Path) -> None:
    path = make(uploads / "a.db", STRANGER, STRANGER, 0o640)
    subprocess.run([program("setfacl", "acl"), "-m", f"u:{WEB}:rw", path], check=True)
    assert list(ask(at, fix=True).lines()) == [RIGHT]
    shutil.chown(path, "root", "root")
    assert ask(at, fix=True).exit_status == 0
    assert path.owner() == WEB


@pytest.mark.parametrize("call", ["chown,fchownat,lchown", "chmod,fchmodat"])
def test_dropped_attributes_are_no_repair(at: Host, uploads: Path, call: str) -> None:
    """Some network file systems accept a change and keep what they had."""
    path = make(uploads / "a.db", "root", "root", 0o400)
    code = (
        "import pwd\nfrom pathlib import Path\nfrom hookd.files.ownership.data import audit_data\n"
        "from hookd.files.ownership.policies import Policy\nweb = pwd.getpwnam('www-data')\n"
        f"policy, place = Policy(web.pw_uid, web.pw_gid), Path({str(uploads)!r})\n"
        "print(*audit_data(place, policy, frozenset({0}), repairs=True), sep='\\n')"
    )
    inject = (program("strace", "strace"), "-qq", "-o", "/dev/null", "-e", f"inject={call}:retval=0")
    done = subprocess.run(
        [*inject, sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    reason = "its file system keeps other values: move it to another one"
    assert done.stdout == f"{path} is root:root 0400, should be www-data:www-data 0600 ({reason})\n", done.stderr
