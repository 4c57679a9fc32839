"""The start of a release: once, or once more after a disturbance."""

from pathlib import Path

import pytest

from hookd.model.deployment import StepName
from tests.support.tasks import make_app, make_settings
from worker.context import AppTask
from worker.deploy import start
from worker.deploy.start import start_healthy
from worker.deploy.target import count_crash, read_crash_count
from worker.errors import CommandFailed, DeployError, ReleaseKilled, ServiceMissing, Unhealthy
from worker.report.log import StepLog

COMMIT = "a" * 40
SILENT = Unhealthy("gives no answer", is_silent=True)


class Notes:
    """The lines of a log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, step: str, text: str) -> None:
        self.lines.append(f"{step}: {text}")

    def clean(self, text: str) -> str:
        return text


class Starts:
    """A service whose starts end one after another as told, and how systemd says that they ended."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notes = Notes()
        self.restarted: list[str] = []
        self.failures: list[Exception | None] = []
        self.disturbances: list[str | None] = []
        self.silent: list[bool] = []
        log = StepLog("shop-20260304T050607000-0a1b2c", self.notes)
        self.task = AppTask(app=make_app(directory), settings=make_settings(directory), recorder=log)
        monkeypatch.setattr(start, "control", lambda task, verb, name: self.restarted.append(f"{verb} {name}"))
        monkeypatch.setattr(start, "verify_health", self._verify)
        monkeypatch.setattr(start, "find_disturbance", self._find)

    def _verify(self, *_: object) -> None:
        if failure := self.failures.pop(0):
            raise failure

    def _find(self, *_: object, is_silent: bool) -> str | None:
        self.silent.append(is_silent)
        return self.disturbances.pop(0)

    def begin(self) -> None:
        start_healthy(self.task, "shop-blue", "blue", StepName.START)


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    return Starts(tmp_path, monkeypatch)


def test_healthy_start(starts: Starts) -> None:
    starts.failures = [None]
    starts.begin()
    assert starts.restarted == ["restart shop-blue"]


@pytest.mark.parametrize("failure", [Unhealthy("answered 500"), CommandFailed("the job failed"), SILENT])
def test_bad_release_is_started_once(starts: Starts, failure: Exception) -> None:
    starts.failures, starts.disturbances = [failure], [None]
    with pytest.raises(type(failure)) as caught:
        starts.begin()
    assert (caught.value, len(starts.restarted), starts.silent) == (failure, 1, [failure is SILENT])
    assert not isinstance(caught.value, ReleaseKilled)


@pytest.mark.threat(90)
@pytest.mark.parametrize("failure", [Unhealthy("the service ended by itself"), CommandFailed("the job failed"), SILENT])
def test_disturbed_start_is_repeated(starts: Starts, failure: Exception) -> None:
    starts.failures, starts.disturbances = [failure, None], ["was killed by SIGKILL"]
    starts.begin()
    assert len(starts.restarted) == 2
    assert f"hookd: {failure}; shop-blue was killed by SIGKILL, so it is started once more" in starts.notes.lines


@pytest.mark.threat(90)
def test_two_disturbances_blame_nobody(starts: Starts) -> None:
    starts.failures, starts.disturbances = [SILENT, SILENT], ["was suspended", "was killed by SIGKILL"]
    with pytest.raises(ReleaseKilled, match="shop-blue was killed by SIGKILL in two starts, probably from outside"):
        starts.begin()
    assert len(starts.restarted) == 2


def test_second_failure_counts(starts: Starts) -> None:
    starts.failures, starts.disturbances = [SILENT, Unhealthy("answered 500")], ["was suspended", None]
    with pytest.raises(Unhealthy, match="answered 500") as caught:
        starts.begin()
    assert not isinstance(caught.value, ReleaseKilled)


def test_missing_service_is_not_started_again(starts: Starts) -> None:
    starts.failures = [ServiceMissing("systemd knows no service shop-blue")]
    with pytest.raises(ServiceMissing):
        starts.begin()
    assert (len(starts.restarted), starts.silent) == (1, [])


@pytest.mark.threat(84, 90)
def test_kills_in_a_row_are_counted(tmp_path: Path) -> None:
    path, killed = tmp_path / "crashes", DeployError("it was killed")
    killed.was_killed = True
    for number in (1, 2, 3):
        with pytest.raises(DeployError), count_crash(path, COMMIT):
            raise killed
        assert read_crash_count(path, COMMIT) == number
    with pytest.raises(DeployError), count_crash(path, COMMIT):
        raise DeployError("the disk is full")
    assert read_crash_count(path, COMMIT) == 0
