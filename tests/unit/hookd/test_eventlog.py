"""One event is one line for any text in its fields: JSON for the journal, plain text for a terminal."""

import io
import json
import logging
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookd import eventlog
from hookd.eventlog import JsonFormatter, TextFormatter, event, is_journal_attached
from hookd.model.decision import Verdict

# A line break of every kind, colours, a right-to-left mark, half a character, and quotes of every kind.
HOSTILE = "\r\n\u2028\u2029\x85\x0b\x0c\x1b[31m\u202e\ud800\x00\x7f\"'\\"
FORGED = 'x\nWARNING hookd.receiver.app refused signature app=shop client=192.0.2.7 "level": "warning"'
FORMS = [JsonFormatter(), TextFormatter()]


class Caught(logging.Handler):
    """Keeps the records that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def caught() -> Caught:
    return Caught()


@pytest.fixture
def log(caught: Caught) -> logging.Logger:
    found = logging.Logger("hookd.receiver.app")
    found.addHandler(caught)
    return found


def one(name: str = "push", level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    """Build the record of one event."""
    caught, log = Caught(), logging.Logger("hookd.receiver.app")
    log.addHandler(caught)
    event(log, name, level, **fields)
    return caught.records[0]


def test_event_as_json() -> None:
    line = JsonFormatter().format(
        one("refused signature", logging.WARNING, app="shop", client="192.0.2.7", times=3, ok=True)
    )
    found = json.loads(line)
    assert list(found) == ["at", "level", "logger", "event", "app", "client", "times", "ok"]
    assert line.endswith(
        '"level": "warning", "logger": "hookd.receiver.app", "event": "refused signature", "app": "shop",'
        ' "client": "192.0.2.7", "times": 3, "ok": true}'
    )


def test_event_as_text() -> None:
    record = one("push", app="shop", answer=Verdict.QUEUED, deployment="shop-1")
    assert TextFormatter().format(record) == "INFO hookd.receiver.app push app=shop answer=queued deployment=shop-1"


def test_none_fields_are_omitted() -> None:
    assert TextFormatter().format(one("ended", cause=None, app="shop")) == "INFO hookd.receiver.app ended app=shop"
    assert "cause" not in json.loads(JsonFormatter().format(one("ended", cause=None)))


@pytest.mark.threat(35)
@pytest.mark.parametrize("form", FORMS)
@given(text=st.text() | st.sampled_from([HOSTILE, FORGED]))
def test_event_is_one_line(form: logging.Formatter, text: str) -> None:
    line = form.format(one("push", why=text, app="shop"))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    line.encode()


@given(text=st.text(max_size=500) | st.sampled_from([HOSTILE, FORGED]))
def test_json_keeps_the_value(text: str) -> None:
    found = json.loads(JsonFormatter().format(one("push", why=text, app="shop")))
    assert (found["event"], found["app"], found["level"]) == ("push", "shop", "info")
    assert found["why"] == text.encode("utf-8", "replace").decode()
    assert set(found) == {"at", "level", "logger", "event", "why", "app"}


@pytest.mark.parametrize("text", ["x app=other", 'x" app="other', "a=b app=other", "app=other "])
def test_value_imitates_no_field(text: str) -> None:
    line = TextFormatter().format(one("push", why=text, app="shop"))
    assert line == f"INFO hookd.receiver.app push why={json.dumps(text)} app=shop"


@pytest.mark.parametrize("form", FORMS)
def test_a_long_text_is_cut(form: logging.Formatter) -> None:
    assert len(form.format(one("push", why="x" * 100_000))) < 2200


@pytest.mark.parametrize("value", [b"\xff", ["a\nb"], {"a": "\x1b"}, 1.5, float("nan"), object(), Verdict.FROZEN])
@pytest.mark.parametrize("form", FORMS)
def test_any_value_is_one_line(form: logging.Formatter, value: object) -> None:
    line = form.format(one("push", why=value))
    assert line.isprintable() and len(line.splitlines()) == 1


def test_json_is_strict_json() -> None:
    def never(_: str) -> None:
        raise AssertionError("not JSON")

    json.loads(JsonFormatter().format(one("push", why=float("inf"))), parse_constant=never)


@pytest.mark.parametrize("form", FORMS)
def test_library_record_is_a_message(caught: Caught, log: logging.Logger, form: logging.Formatter) -> None:
    log.warning("Invalid request from %s", FORGED)
    line = form.format(caught.records[0])
    assert len(line.splitlines()) == 1 and line.isprintable()
    if isinstance(form, JsonFormatter):
        assert json.loads(line)["event"] == "message"
        assert json.loads(line)["text"] == f"Invalid request from {FORGED}"
    else:
        assert line == f"WARNING hookd.receiver.app {json.dumps(f'Invalid request from {FORGED}')}"


def failed(log: logging.Logger, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        event(log, "unexpected", logging.ERROR, trace=True, error="ValueError")


def test_traceback_is_a_field(caught: Caught, log: logging.Logger) -> None:
    failed(log, FORGED)
    line = JsonFormatter().format(caught.records[0])
    found = json.loads(line)
    assert len(line.splitlines()) == 1
    assert (found["event"], found["error"]) == ("unexpected", "ValueError")
    assert found["traceback"].endswith(f"ValueError: {FORGED}")


@pytest.mark.threat(35)
def test_traceback_imitates_no_event(caught: Caught, log: logging.Logger) -> None:
    failed(log, f"{FORGED}{HOSTILE}")
    first, *more = TextFormatter().format(caught.records[0]).split("\n")
    assert first == "ERROR hookd.receiver.app unexpected error=ValueError"
    assert more and all(line.startswith("    ") and line.isprintable() for line in more)


def test_long_traceback_keeps_its_end(caught: Caught, log: logging.Logger) -> None:
    failed(log, "x" * 100_000 + " the end")
    line = JsonFormatter().format(caught.records[0])
    assert json.loads(line)["traceback"].endswith(" the end")
    assert len(line) < 20_000


def test_json_is_for_the_journal_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with (tmp_path / "stream").open("w") as stream, (tmp_path / "other").open("w") as other:
        monkeypatch.setattr(sys, "stderr", stream)
        for at, expected in ((stream, True), (other, False)):
            found = os.fstat(at.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
            assert is_journal_attached() is expected
            assert isinstance(eventlog.choose_formatter(), JsonFormatter if expected else TextFormatter)
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not is_journal_attached()


def test_no_standard_error_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not is_journal_attached()
