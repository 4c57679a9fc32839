"""Random data in place of records, statuses, decisions and counters: pages, commands and pushes work."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookd.model import redis_keys
from hookd.model.decision import Decision, Lag, Verdict
from hookd.model.deployment import Deployment, Status, Step, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.queue.counters import STEPS
from hookd.queue.published import AppStatus, Quarantine
from tests.support.receiver import LocalReceiver, run_receiver
from tests.support.typed import typed

APP = "github"
ID = f"{APP}-20260304T050607000-0a1b2c"
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
COMMIT = "ab" * 20
PAGES = ("/apps", f"/apps/{APP}", f"/apps/{APP}/decisions", f"/deployments/{ID}", f"/deployments/{ID}/log", "/metrics")
COMMANDS = (["status"], ["status", APP], ["status", APP, "--json"], ["why", APP], ["why", "--refused"], ["logs", APP])

RECORD = Deployment(
    id=ID, app=APP, trigger=Trigger.PUSH, status=Status.FAILED, created_at=AT, started_at=AT, ended_at=AT,
    claimed_commit=COMMIT, commit=COMMIT, subject="a change", author="Ada", cause="it is bad",
    hint=Hint(HintKind.SHOW_UNIT_LOG, "shop.service"),
    steps=(Step(name="fetch", started_at=AT, seconds=1.5, outcome="done", detail="main"),),
)  # fmt: skip
VIEW = AppStatus(
    app=APP, deployed_commit=COMMIT, head="cd" * 20, head_seen_at=AT, healthy=True, checked_at=AT, pinned_commit=COMMIT,
    quarantined=(Quarantine(commit=COMMIT, since=AT, cause="it was bad"),),
    lag=Lag(commits=3, since=AT, verdict=Verdict.QUARANTINED, why="it was bad"),
)  # fmt: skip
DECISION = Decision(
    at=AT, app=APP, source="delivery", verdict=Verdict.QUEUED, why="a deployment was asked for", event="push",
    delivery="d-1", repository="acme/shop", ref="refs/heads/main", claimed_commit=COMMIT, head=COMMIT, deployment=ID,
)  # fmt: skip

# What a stranger would try in a field's place: other kinds, other sizes, moments at the ends of time, signs that steer.
ODD = st.sampled_from(
    [
        None, True, -1, 0, 1.5, 10**40, 1e308, "", " ", "x" * 5000, "\x1b]52;c;eA==\x07", "a\nb\x00c", "[bold]", "[/]",
        "é\u2028", "\ud800", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", [], {},
        [[[[1]]]], {"name": "x"}, "github", COMMIT, "0" * 40, "succeeded", "running", "queued", "../../etc/passwd",
    ]
)  # fmt: skip
BYTES = st.binary(max_size=60) | st.sampled_from([b"9" * 5000, b"-1", b"1e400", b"nan", b"[" * 3000, b"\xff\xfe"])


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalReceiver]:
    """The application and a Redis for the test's data."""
    with run_receiver(tmp_path_factory.mktemp("odd"), receiver={"public_status": True}) as running:
        yield running


def spoilt(document: Any, at: float, odd: Any) -> bytes:
    """Return a document with one value replaced. `at`, from 0 to 1, chooses the value."""
    places = list(_places(document))
    holder, key = places[min(int(at * len(places)), len(places) - 1)]
    holder[key] = odd
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Return every place of a document: a container and a key."""
    for key in document if isinstance(document, dict) else range(len(document)):
        yield document, key
        if isinstance(document[key], (dict, list)):
            yield from _places(document[key])


def documents(model: Deployment | AppStatus | Decision) -> st.SearchStrategy[bytes]:
    """Return random values, some of them nearly valid."""
    written = model.model_dump_json()
    return st.builds(lambda at, odd: spoilt(json.loads(written), at, odd), st.floats(0, 1), ODD) | BYTES


def write(receiver: LocalReceiver, record: bytes, view: bytes, decision: bytes, number: bytes) -> None:
    """Put all that into the places that hookd reads."""
    redis = receiver.redis
    redis.flushdb()
    redis.hset(redis_keys.record_key(ID), "record", record)
    redis.hset(redis_keys.coalesced_key(APP), ID, number)
    redis.zadd(redis_keys.history_key(APP), {ID: AT.timestamp()})
    redis.set(redis_keys.app_status_key(APP), view)
    redis.set(redis_keys.waiting_key(APP), ID)
    for stream in (redis_keys.decisions_key(APP), redis_keys.REFUSALS):
        redis.xadd(stream, {"decision": decision})
    counted = ("run:count", "run:seconds", "refused", "delivered_at", "succeeded_at", "ended", f"step:{STEPS[0]}:count")
    redis.hset(redis_keys.counts_key(APP), mapping=dict.fromkeys(counted, number))


WRITTEN = {"record": documents(RECORD), "view": documents(VIEW), "decision": documents(DECISION), "number": BYTES}


@pytest.mark.threat(57)
@given(**WRITTEN)
def test_receiver_rights(receiver: LocalReceiver, record: bytes, view: bytes, decision: bytes, number: bytes) -> None:
    write(receiver, record, view, decision, number)
    shown = {path: receiver.get(path).status_code for path in PAGES}
    assert max(shown.values()) < 500, shown
    assert receiver.push(APP).status_code in (200, 202)


@pytest.mark.threat(57)
@settings(max_examples=60)
@given(**WRITTEN)
def test_reading_commands(receiver: LocalReceiver, record: bytes, view: bytes, decision: bytes, number: bytes) -> None:
    write(receiver, record, view, decision, number)
    for command in COMMANDS:
        assert "\x1b]52" not in typed(receiver.config.path, *command).output
