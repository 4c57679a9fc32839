"""Shared files and uploads outlive releases, and a commit cannot replace them."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status
from hookd.model.hint import Hint, HintKind
from tests.support.installation import Installation, app_files

SHARED = {"files": [".env"], "directories": ["uploads", "var/cache"]}
APPS: dict[str, dict[str, Any]] = {
    "kept": {"handover": "restart", "shared": SHARED},
    "taken": {"handover": "restart", "shared": SHARED},
    "leads": {"handover": "restart"},
    "many": {"handover": "restart", "limits": {"keep_releases": 2}},
}


@pytest.mark.threat(77)
def test_shared_data_outlives_releases(site: Installation) -> None:
    _write_env(site, "kept", "NAME=one")
    one = site.ship("kept", {**app_files("one"), "uploads/.gitkeep": ""})
    upload = site.current("kept") / "uploads" / "photo.jpg"
    upload.write_bytes(b"holiday")
    two = site.ship("kept", app_files("two"))
    failed = site.ship("kept", {**app_files("three"), "wsgi.py": "import no_such_package"})
    assert [one.status, two.status, failed.status] == [Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED]
    release = site.current("kept")
    assert release.name == two.release
    assert (release / "uploads" / "photo.jpg").read_bytes() == b"holiday"
    assert (release / ".env").read_text() == "NAME=one"
    shared = site.root("kept") / "shared"
    for name in (".env", "uploads", "var/cache"):
        assert os.readlink(release / name) == str(shared / name)
    assert stat.S_IMODE((shared / "uploads").stat().st_mode) == 0o2770


def test_missing_shared_file(site: Installation) -> None:
    _write_env(site, "kept", "NAME=one")
    if not (site.root("kept") / "current").exists():
        site.ship("kept", app_files("four"))
    serving = site.serving("kept")
    (site.root("kept") / "shared" / ".env").unlink()
    missing = site.ship("kept", app_files("five"))
    assert (missing.status, missing.cause) == (Status.FAILED, "the shared file .env is missing")
    assert missing.hint == Hint(HintKind.SHOW_LOG)
    command = f"next: install -D -m 0640 /dev/stdin {site.root('kept')}/shared/.env"
    assert command in site.log_of(missing)
    assert site.serving("kept") == serving
    _write_env(site, "kept", "NAME=two")
    assert site.push_and_wait("kept").status is Status.SUCCEEDED


@pytest.mark.threat(18)
def test_commit_file_at_shared_path(site: Installation) -> None:
    _write_env(site, "taken", "NAME=one")
    _forget(site, "taken")
    _refused(site, "taken", {"uploads/photo.jpg": "mine"}, "the commit contains uploads/photo.jpg, but ")
    assert (site.root("taken") / "shared" / ".env").read_text() == "NAME=one"


@pytest.mark.threat(18)
def test_commit_link_at_shared_path(site: Installation) -> None:
    _write_env(site, "taken", "NAME=one")
    _forget(site, "taken")
    (site.repositories["taken"].work / "uploads").symlink_to("/etc")
    _refused(site, "taken", {}, "the commit contains uploads, but uploads is the app's own on this server")


@pytest.mark.threat(18)
def test_commit_link_leads_out(site: Installation) -> None:
    _forget(site, "leads")
    (site.repositories["leads"].work / "link").symlink_to("../../../hookd.toml")
    _refused(site, "leads", {}, "the commit contains a link that leads out of it: ")


def test_links_inside_commit(site: Installation) -> None:
    _forget(site, "leads")
    work = site.repositories["leads"].work
    (work / "name").symlink_to("wsgi.py")
    assert site.ship("leads", app_files("linked")).status is Status.SUCCEEDED
    assert os.readlink(site.current("leads") / "name") == "wsgi.py"


def test_keep_newest_good_releases(site: Installation) -> None:
    site.ship("many", app_files("bad", "500 Oops"))
    shipped = [site.ship("many", app_files(f"number {number}")) for number in range(3)]
    assert {deployment.status for deployment in shipped} == {Status.SUCCEEDED}
    kept = sorted(path.name for path in (site.root("many") / "releases").iterdir())
    assert kept == [deployment.release for deployment in shipped[-2:]]
    assert len(list((site.root("many") / "venvs").iterdir())) == 1
    back = site.deploy("many", pinned_commit=shipped[0].commit)
    assert (back.status, site.serving("many")) == (Status.SUCCEEDED, "number 0")


def _write_env(site: Installation, app: str, text: str) -> None:
    path = site.root(app) / "shared" / ".env"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _forget(site: Installation, app: str) -> None:
    """Empty the work tree for the next commit."""
    repository = site.repositories[app]
    if (repository.work / "wsgi.py").exists():
        repository.git("rm", "-q", "-r", "-f", ".")


def _refused(site: Installation, app: str, files: dict[str, str | bytes | None], cause: str) -> None:
    before = _releases(site, app)
    refused = site.ship(app, {**app_files("refused"), **files})
    assert (refused.status, refused.release) == (Status.FAILED, None)
    assert (refused.cause or "").startswith(cause)
    assert refused.commit in {entry.commit for entry in site.status(app).quarantined}
    assert _releases(site, app) == before


def _releases(site: Installation, app: str) -> set[Path]:
    directory = site.root(app) / "releases"
    return set(directory.iterdir()) if directory.exists() else set()
