"""The health of a release that serves, from one answer of its health page."""

import time

import pytest

from hookd.model.app import App
from tests.support.apps import app
from worker.errors import CommandFailed
from worker.service import serving
from worker.service.drift import Drift, DriftReport, ServiceState, Serving
from worker.service.health import Answer
from worker.service.serving import with_health

RELEASE = "000002-bbbbbbbbbbbb"
WELL = Answer(True, False, "answered 200")
WRONG = Answer(False, True, "answered 500")
SILENT = Answer(False, False, "gives no answer for 5 s", is_silent=True)
FORBIDDEN = Answer(False, False, "cannot be reached", is_unknown=True)
UP = ServiceState("active", 100.0)
REPORT = DriftReport(f"shop-blue runs {RELEASE}", serving=Serving("shop-blue", RELEASE, UP))
SUSPENDED = "shop-blue is suspended: it does not answer and uses no processor time"


class Service:
    """A service with an answer and a state after that answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer, self.now, self.suspended, self.asked = WELL, UP, False, 0
        monkeypatch.setattr(serving, "ask", self._ask)
        monkeypatch.setattr(serving, "read_service_state", lambda *_: self.now)
        monkeypatch.setattr(serving, "is_suspended", lambda *_: self.suspended)

    def _ask(self, *_: object) -> Answer:
        self.asked += 1
        return self.answer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


def asked(report: DriftReport = REPORT, known: App | None = None) -> DriftReport:
    return with_health(known or app(), "blue", report)


def test_one_healthy_answer(service: Service) -> None:
    assert asked() == DriftReport(REPORT.summary, serving=REPORT.serving, is_healthy=True)
    assert service.asked == 1


@pytest.mark.threat(91)
@pytest.mark.parametrize("answer", [WRONG, SILENT])
def test_unhealthy_is_no_drift(service: Service, answer: Answer) -> None:
    """A hung database makes an app silent, too, and a restart would not help."""
    service.answer = answer
    found = asked()
    assert (found.is_healthy, found.drifts) == (False, ())
    assert found.summary == f"shop-blue is unhealthy: its health page {answer.text}"


@pytest.mark.threat(91)
def test_suspended_process_is_a_drift(service: Service) -> None:
    service.answer, service.suspended = SILENT, True
    found = asked()
    assert (found.is_healthy, found.summary) == (False, SUSPENDED)
    assert found.drifts == (Drift("suspended", "shop-blue", RELEASE, SUSPENDED),)


def test_wrong_answer_is_not_suspended(service: Service) -> None:
    service.answer, service.suspended = WRONG, True
    assert asked().drifts == ()


def test_problem_joins_other_drifts(service: Service) -> None:
    service.answer = WRONG
    link = Drift("link", "current", RELEASE, "current does not lead there")
    found = asked(DriftReport(link.text, (link,), serving=REPORT.serving))
    assert found.drifts == (link,)
    assert found.summary == f"{link.text}; shop-blue is unhealthy: its health page answered 500"


def test_stopped_service_is_not_asked(service: Service) -> None:
    """The question would start it through its socket."""
    report = DriftReport("shop is stopped", is_stopped=True)
    assert (asked(report), service.asked) == (report, 0)


def test_starting_service_is_not_asked(service: Service) -> None:
    known = app(health={"url": "unix:/run/shop-{colour}.sock:/healthz", "deadline": 60})
    for started, number in ((time.time() - 30, 0), (time.time() - 90, 1), (time.time() + 3600, 2)):
        report = DriftReport("", serving=Serving("shop-blue", RELEASE, ServiceState("active", started)))
        asked(report, known)
        assert service.asked == number, "a clock may jump"


@pytest.mark.parametrize("now", [ServiceState("active", 200.0), ServiceState("inactive", 100.0)])
def test_restart_meanwhile_is_not_unhealthy(service: Service, now: ServiceState) -> None:
    service.answer, service.now = SILENT, now
    assert asked() == REPORT


def test_forbidden_question_says_nothing(service: Service) -> None:
    service.answer = FORBIDDEN
    assert asked() == REPORT


def test_silent_manager_says_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> ServiceState:
        raise CommandFailed("systemd does not answer")

    service.answer = WRONG
    monkeypatch.setattr(serving, "read_service_state", fails)
    assert asked() == REPORT
