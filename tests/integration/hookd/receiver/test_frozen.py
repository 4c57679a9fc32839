"""Pushes to a frozen app are recorded and deploy nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hookd import freezes
from hookd.model import redis_keys
from hookd.model.decision import Freeze, Verdict
from tests.support.decisions import FULL, counted, decided
from tests.support.receiver import NEW, LocalReceiver, content, push_body
from tests.support.signatures import headers_of

REASON = "the database moves"


@pytest.fixture
def frozen(receiver: LocalReceiver) -> Iterator[LocalReceiver]:
    """The same, with an app that somebody froze."""
    freezes.freeze(receiver.config.freeze_directory, "github", Freeze(reason=REASON, since=datetime.now(UTC), by="ada"))
    yield receiver
    freezes.thaw(receiver.config.freeze_directory, "github")


@pytest.mark.threat(42)
@pytest.mark.promise(47)
def test_frozen_push_is_recorded_only(frozen: LocalReceiver) -> None:
    response = frozen.push()
    assert (response.status_code, content(response)["status"]) == (200, "frozen")
    assert REASON in content(response)["reason"] and "by ada" in content(response)["reason"]
    assert frozen.stored() == 0
    [found] = decided(frozen)
    assert (found.verdict, found.claimed_commit, found.deployment) == (Verdict.FROZEN, NEW, None)
    assert REASON in found.why
    assert counted(frozen).deliveries[Verdict.FROZEN] == 1


def test_freeze_needs_a_signature(frozen: LocalReceiver) -> None:
    body = push_body("github")
    response = frozen.post("/hooks/github", body, headers_of("github", b"other"))
    assert (response.status_code, response.data) == (401, b'{"error":"invalid signature"}\n')
    assert content(frozen.push(event="ping"))["status"] == "pong"


def test_other_apps_are_not_frozen(frozen: LocalReceiver) -> None:
    assert frozen.push("gitea").status_code == 202


def test_thaw_needs_no_restart(frozen: LocalReceiver) -> None:
    assert content(frozen.push())["status"] == "frozen"
    over = datetime.now(UTC) - timedelta(hours=1)
    freezes.freeze(frozen.config.freeze_directory, "github", Freeze(reason=REASON, since=over, until=over))
    assert content(frozen.push())["status"] == "queued", "it was never answered with a deployment"
    freezes.freeze(frozen.config.freeze_directory, "github", Freeze(reason=REASON, since=over))
    assert content(frozen.push(delivery="next"))["status"] == "frozen"
    freezes.thaw(frozen.config.freeze_directory, "github")
    assert content(frozen.push(delivery="next"))["status"] == "coalesced"


@pytest.mark.parametrize("text", ["", "{", '{"reason": ""}', "x" * 5000])
def test_unreadable_freeze_holds(frozen: LocalReceiver, text: str) -> None:
    (frozen.config.freeze_directory / "github").write_text(text)
    assert content(frozen.push())["status"] == "frozen"


def test_long_reason_is_cut(frozen: LocalReceiver) -> None:
    freeze = Freeze(reason="x" * 300, since=datetime.now(UTC), by="y" * 64)
    freezes.freeze(frozen.config.freeze_directory, "github", freeze)
    assert content(frozen.push())["status"] == "frozen"
    assert len(decided(frozen)[0].why) == 300


@pytest.mark.threat(82)
def test_frozen_push_survives_a_full_stream(frozen: LocalReceiver, caplog: pytest.LogCaptureFixture) -> None:
    frozen.redis.xadd(redis_keys.decisions_key("github"), {"decision": "{}"}, id=FULL)
    response = frozen.push()
    assert (response.status_code, content(response)["status"]) == (200, "frozen")
    assert counted(frozen).deliveries[Verdict.FROZEN] == 1
    assert "decision not kept" in caplog.messages


@pytest.mark.threat(82)
def test_frozen_push_needs_redis(frozen: LocalReceiver) -> None:
    frozen.redis.config_set("maxmemory", 1)
    try:
        assert frozen.push().status_code == 503
    finally:
        frozen.redis.config_set("maxmemory", 0)
