"""A service that works in a directory of its release (`service.directory`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for
from tests.support.reconciling import ending, reconcile_app

APP = "shop"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("site")) as installation:
        installation.add_app(APP, handover="restart", service={"directory": "src"})
        installation.start()
        yield installation


def ship(site: Installation, version: str) -> Deployment:
    """Deploy an app whose code lies in a directory of its repository."""
    files = app_files(version)
    record = site.ship(APP, {**files, "src/wsgi.py": files["wsgi.py"]})
    assert record.status is Status.SUCCEEDED, record
    return record


def directory_of(site: Installation) -> Path:
    """Return the working directory of the app's process, which its start changes."""
    [process] = site.circus("list", APP)
    return Path(f"/proc/{process}/cwd").resolve()


@pytest.mark.threat(37)
def test_working_directory_shows_drift(site: Installation) -> None:
    """One test, because each deployment takes seconds. A restart that changes nothing happens once."""
    old, new = ship(site, "one"), ship(site, "two")
    before = site.circus("list", APP)
    assert reconcile_app(site, APP).verdict is Verdict.UNCHANGED
    assert site.circus("list", APP) == before

    release = site.root(APP) / "releases" / str(new.release)
    (release / "src").rename(release / "away")
    (release / "src").symlink_to(release.with_name(str(old.release)) / "src")
    site.circus("restart", APP)
    wait_for(lambda: directory_of(site) == (release / "src").resolve(), what="gunicorn in the directory of its code")
    record = ending(site, reconcile_app(site, APP))
    assert record.status is Status.FAILED
    assert record.cause == f"{APP} runs another release than {new.release}, also after a restart"
    assert site.status(APP).healthy is True
    before = site.circus("list", APP)
    decision = reconcile_app(site, APP)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)
    assert "a person must look" in decision.why
    assert site.circus("list", APP) == before

    assert ship(site, "three").status is Status.SUCCEEDED, "the next deployment is not concerned"
    assert reconcile_app(site, APP).verdict is Verdict.UNCHANGED
