"""`hookd permissions APP`: its findings, and its repairs as root and as the worker."""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.files.ownership.policies import OwnershipError
from tests.support.hosts import WEB, WORKER, Host, host
from units.apps.permissions import PermissionReport, check_permissions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY, WWW_DATA = 65534, 33


@pytest.fixture
def at() -> Iterator[Host]:
    """Return a host with the policy `group` and one release."""
    with host("group") as made:
        made.deploy()
        yield made


@pytest.fixture
def release(at: Host) -> Path:
    return next((at.root / "releases").iterdir())


def ask(at: Host, *, fix: bool = False) -> PermissionReport:
    return check_permissions(at.app(), at.settings, fix=fix, worker=WORKER)


def test_correct_files_are_not_listed(at: Host) -> None:
    report = ask(at)
    assert list(report.lines()) == ["shop: all paths match the policy group"]
    assert report.exit_status == 0


@pytest.mark.promise(53)
def test_findings_are_listed_not_repaired(at: Host, release: Path) -> None:
    shutil.chown(release / "app.py", "root", "root")
    (release / "pkg").chmod(0o700)
    report = ask(at)
    assert sorted(report.lines()) == [
        "  next: sudo hookd permissions shop --fix",
        f"{release}/app.py is root:root 0640, should be nobody:www-data 0640",
        f"{release}/pkg is nobody:www-data 0700, should be nobody:www-data 2750",
        "shop: 2 paths against the policy group",
    ]
    assert report.exit_status == 1
    assert (release / "app.py").stat().st_uid == 0


@pytest.mark.promise(53)
def test_root_repairs_everything(at: Host, release: Path) -> None:
    for path in (at.root, *at.root.rglob("*"), *(at.directory / "state").rglob("*")):
        if not path.is_symlink() and path.name != ".env":
            os.chown(path, 0, 0)
            path.chmod(0o777 if path.is_dir() else 0o600 | (path.stat().st_mode & 0o111))
    (at.root / "shared" / ".env").chmod(0o666)
    report = ask(at, fix=True)
    assert report.exit_status == 0 and len(report.findings) > 20
    assert list(ask(at).lines()) == ["shop: all paths match the policy group"]
    uploads = (at.root / "shared" / "uploads").stat()
    assert (uploads.st_uid, uploads.st_gid, stat.S_IMODE(uploads.st_mode)) == (WWW_DATA, WWW_DATA, 0o2770)
    assert "Traceback" not in at.as_app(release.joinpath("app.py").read_text)


def test_repair_touches_only_findings(at: Host, release: Path) -> None:
    (release / "app.py").chmod(0o644)
    before = {path: path.lstat().st_ctime_ns for path in at.root.rglob("*") if path.name != "app.py"}
    assert [finding.path for finding in ask(at, fix=True).findings] == [f"{release}/app.py"]
    assert {path: path.lstat().st_ctime_ns for path in before} == before


def test_worker_repairs_its_own_files(at: Host, release: Path) -> None:
    shutil.chown(release / "app.py", "root", "root")
    (release / "pkg").chmod(0o700)
    lines = at.as_worker(lambda: "\n".join([*ask(at, fix=True).lines(), str(ask(at).exit_status)])).splitlines()
    assert f"{release}/pkg was nobody:www-data 0700, is now nobody:www-data 2750" in lines
    refused = f"{release}/app.py is root:root 0640, should be nobody:www-data 0640 (it belongs to another user)"
    assert refused in lines
    assert lines[-4:] == [
        "shop: 1 path repaired",
        "shop: 1 path against the policy group",
        "  next: sudo hookd permissions shop --fix",
        "1",
    ]


def test_long_lists_are_cut(at: Host, release: Path) -> None:
    for number in range(70):
        (release / f"{number}.txt").touch(mode=0o600)
    os.mkfifo(release / "pipe")
    report = ask(at, fix=True)
    lines = list(report.lines())
    assert "… and 20 more, all of them with --json" in lines and len(lines) == 54
    assert [finding.path for finding in report.left] == [f"{release}/pipe"]
    assert f"{release}/pipe is neither a file, a directory nor a link: remove it" in lines
    assert lines[-1] == "shop: 1 path left for you to decide: see above"


def test_json_has_the_same_findings(at: Host, release: Path) -> None:
    (release / "app.py").chmod(0o644)
    (at.root / "shared" / ".env").unlink()
    report = json.loads(json.dumps(ask(at).as_json()))
    assert (report["app"], report["policy"], report["right"]) == ("shop", "group", False)
    first, second = report["findings"]
    assert first == {
        "path": f"{release}/app.py",
        "found": "nobody:www-data 0644",
        "wanted": "nobody:www-data 0640",
        "obstacle": None,
        "repaired": False,
    }
    assert second["problem"] == f"{at.root}/shared/.env is missing"


def test_readable_deploy_key_is_found(at: Host) -> None:
    key = at.directory / "key"
    key.touch(mode=0o644)
    app = at.app(deploy_key=key)
    report = check_permissions(app, at.settings, worker=WORKER)
    assert f"{key} is root:root 0644, should be nobody:nogroup 0600" in list(report.lines())
    assert check_permissions(app, at.settings, fix=True, worker=WORKER).exit_status == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_root_files_in_state_are_found(at: Host) -> None:
    journal = at.directory / "state" / "journals" / "shop.jsonl"
    os.chown(journal, 0, 0)
    mode = journal.stat().st_mode
    assert any(line.startswith(f"{journal} is root:root") for line in ask(at).lines())
    assert ask(at, fix=True).exit_status == 0
    assert (journal.stat().st_uid, journal.stat().st_mode) == (NOBODY, mode)


def test_unfinished_release_is_skipped(at: Host) -> None:
    (at.root / "releases" / ".000002-abc.partial").mkdir(mode=0o700)
    assert ask(at).exit_status == 0


@pytest.mark.threat(64)
def test_names_are_safe_for_terminals(at: Host, release: Path) -> None:
    (release / "a\n\x1b[2Jb").touch(mode=0o600)
    assert any(f"{release}/a\\n\\x1b[2Jb is " in line for line in ask(at).lines())


def test_only_root_s_links_are_followed(at: Host) -> None:
    """Root may have moved /srv to another disk. Links of the worker and of the app are not followed."""
    way = Path("/run/hookd-test-way")
    way.symlink_to(at.directory)
    try:
        app = at.app(root=way / "srv")
        assert check_permissions(app, at.settings, worker=WORKER).exit_status == 0
        os.lchown(way, NOBODY, -1)
        refused = f"{way}/srv cannot be read: {way.name} is a link that others than root can change"
        assert refused in list(check_permissions(app, at.settings, worker=WORKER).lines())
        way.unlink()
        way.symlink_to(Path("..") / at.directory.relative_to("/"))
        lines = list(check_permissions(app, at.settings, worker=WORKER).lines())
        assert any(line.endswith("which holds ..") for line in lines)
        (at.directory / "mine").symlink_to(at.directory)
        app = at.app(root=at.directory / "mine" / "srv")
        lines = list(check_permissions(app, at.settings, worker=WORKER).lines())
        assert f"{at.directory}/mine/srv cannot be read: mine is a link that others than root can change" in lines
    finally:
        way.unlink()


def test_closed_own_directory_is_repaired(at: Host, release: Path) -> None:
    for directory in (release / "pkg" / "deep", release / "pkg", release):
        directory.chmod(0o640)  # What `chmod -R 640` leaves.
    text = at.as_worker(lambda: "\n".join(ask(at).lines()))
    assert f"{release} is nobody:www-data 0640, should be nobody:www-data 2750\n" in text
    assert f"{release}/app.py cannot be read: Permission denied\n" in text
    assert at.as_worker(lambda: ask(at, fix=True).exit_status) == "0"


def test_missing_user_has_a_hint(at: Host) -> None:
    with pytest.raises(OwnershipError, match="the user no-such-worker does not exist") as caught:
        check_permissions(at.app(), at.settings, worker="no-such-worker")
    assert caught.value.hint in ("sudo hookd setup", "sudo ./run install")


def test_unreadable_files_are_named(at: Host) -> None:
    text = at.as_stranger(lambda: "\n".join(ask(at).lines()))
    assert "cannot be read: Permission denied" in text
    assert text.endswith("next: sudo hookd permissions shop --fix")
    assert WEB not in text
