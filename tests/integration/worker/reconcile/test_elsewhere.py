"""A service with another working directory than its release, as with `--chdir`."""

from collections.abc import Iterator

import pytest

from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status
from hookd.queue.app_status import AppStatusStore
from tests.support.installation import Installation, app_files
from tests.support.reconciling import circus, ending, look_at

INSIDE, OTHER = "inside", "other"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUNICORN_CMD_ARGS", "--chdir=src")
        with Installation(tmp_path_factory.mktemp("site")) as installation:
            for app in (INSIDE, OTHER):
                installation.add_app(app, handover="restart")
            installation.start()
            yield installation


def ship(site: Installation, app: str, version: str) -> Deployment:
    """Deploy an app whose code lies in a directory of its repository."""
    files = app_files(version)
    record = site.ship(app, {**files, "src/wsgi.py": files["wsgi.py"]})
    assert record.status is Status.SUCCEEDED, record
    return record


@pytest.mark.threat(37)
def test_working_directory_inside_the_release(site: Installation) -> None:
    ship(site, INSIDE, "one")
    before = circus(site, "list", INSIDE)
    assert look_at(site, INSIDE).verdict is Verdict.UNCHANGED
    assert circus(site, "list", INSIDE) == before


@pytest.mark.threat(37)
def test_futile_restart_happens_once(
    site: Installation,
) -> None:
    old, new = ship(site, OTHER, "one"), ship(site, OTHER, "two")
    releases = site.root(OTHER) / "releases"
    (releases / str(new.release) / "src").rename(releases / str(new.release) / "away")
    (releases / str(new.release) / "src").symlink_to(releases / str(old.release) / "src")
    circus(site, "restart", OTHER)
    record = ending(site, look_at(site, OTHER))
    assert record.status is Status.FAILED
    assert record.cause == f"{OTHER} runs another release than {new.release}, also after a restart"
    assert AppStatusStore(site.records.connection).read(OTHER).healthy is True
    before = circus(site, "list", OTHER)
    decision = look_at(site, OTHER)
    assert (decision.verdict, decision.deployment) == (Verdict.WAITING, None)
    assert "a person must look" in decision.why
    assert circus(site, "list", OTHER) == before
    assert ship(site, OTHER, "three").status is Status.SUCCEEDED, "what is deployed next is none of this"
    assert look_at(site, OTHER).verdict is Verdict.UNCHANGED
