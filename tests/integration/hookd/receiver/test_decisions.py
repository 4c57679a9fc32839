"""The decision about each delivery is recorded with its reason."""

from datetime import UTC, datetime
from typing import Any

import pytest

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.deployment import Status
from hookd.queue import published
from tests.support.decisions import counted, decided, refused
from tests.support.receiver import NEW, LocalReceiver, content, push_body
from tests.support.signatures import REDELIVERED, headers_of


@pytest.mark.threat(44)
def test_pushes_are_recorded_with_decisions(receiver: LocalReceiver) -> None:
    before = datetime.now(UTC)
    first = content(receiver.push(delivery="first"))["deployment"]
    receiver.push(delivery="second")
    receiver.push(delivery="second")
    found = decided(receiver)
    assert [(each.verdict, each.delivery, each.deployment) for each in found] == [
        (Verdict.QUEUED, "first", first),
        (Verdict.COALESCED, "second", first),
        (Verdict.DUPLICATE, "second", first),
    ]
    for each in found:
        assert (each.app, each.source, each.event) == ("github", "delivery", "push")
        assert (each.repository, each.ref, each.claimed_commit) == ("acme/github", "refs/heads/main", NEW)
        assert before <= each.at <= datetime.now(UTC) and each.why


def test_failed_delivery_is_queued_again(receiver: LocalReceiver) -> None:
    receiver.end(content(receiver.push())["deployment"], Status.FAILED)
    receiver.push()
    assert [each.verdict for each in decided(receiver)] == [Verdict.QUEUED, Verdict.QUEUED]


@pytest.mark.parametrize(
    ("changes", "event", "why", "seen"),
    [
        ({"ref": "refs/heads/x"}, "push", "another branch, this app deploys main", ("acme/github", "x")),
        ({"repository": {"full_name": "a/b"}}, "push", "another repository, this app is acme/github", ("a/b", "main")),
        ({}, "create", "the event is 'create', not a push", None),
        ({}, "ping", "the webhook is set up", None),
        ({"after": "main"}, "push", "answered 400: after: String should match pattern", None),
    ],
)
def test_ignored_events_are_recorded(
    receiver: LocalReceiver, changes: dict[str, Any], event: str, why: str, seen: tuple[str, str] | None
) -> None:
    receiver.push(body=push_body("github", **changes), event=event)
    [found] = decided(receiver)
    assert (found.verdict, found.event, found.delivery) == (Verdict.IGNORED, event, REDELIVERED)
    assert found.why.startswith(why)
    assert (found.repository, found.ref) == ((seen[0], f"refs/heads/{seen[1]}") if seen else (None, None))
    assert counted(receiver).deliveries[Verdict.IGNORED] == 1


def test_other_content_types_are_recorded(receiver: LocalReceiver) -> None:
    assert receiver.push(content_type="text/plain").status_code == 415
    assert decided(receiver)[0].why.startswith("answered 415: the content type must be application/json or")


def test_a_strangers_text_is_cut(receiver: LocalReceiver) -> None:
    body = push_body("github", ref="refs/heads/" + "é" * 1000, repository={"full_name": "x" * 500})
    receiver.push(body=body, event="push", delivery="d" * 5000)
    [found] = decided(receiver)
    assert len(found.ref or "") == len(found.repository or "") == 300
    assert len(found.delivery or "") == 100
    assert receiver.push(event="e" * 5000).status_code == 200
    assert len(decided(receiver)[1].event or "") == 100


@pytest.mark.threat(55)
def test_only_so_many_are_kept(receiver: LocalReceiver) -> None:
    for number in range(published.MAX_ENTRIES + 5):
        receiver.push(event="ping", delivery=f"d-{number}")
    assert receiver.redis.xlen(redis_keys.decisions_key("github")) == published.MAX_ENTRIES
    assert counted(receiver).deliveries[Verdict.IGNORED] == published.MAX_ENTRIES + 5


@pytest.mark.threat(44)
@pytest.mark.parametrize("key", ["decisions", "counts"])
def test_wrong_key_type_costs_no_push(receiver: LocalReceiver, key: str) -> None:
    receiver.redis.set(
        {"decisions": redis_keys.decisions_key, "counts": redis_keys.counts_key}[key]("github"), "poison"
    )
    answers = [content(receiver.push(delivery=each))["status"] for each in ("one", "two", "two")]
    assert answers == ["queued", "coalesced", "duplicate"]
    assert content(receiver.push(event="ping"))["status"] == "pong"
    body = push_body("github")
    assert receiver.post("/hooks/github", body, headers_of("github", b"other")).status_code == 401
    assert refused(receiver)[0].app == "github"


@pytest.mark.threat(81)
def test_huge_decisions_are_skipped(receiver: LocalReceiver) -> None:
    receiver.push(delivery="first")
    large = decided(receiver)[0].model_dump_json()[:-1] + ',"more":[' + "[]," * 400_000 + "[]]}"
    receiver.redis.xadd(redis_keys.decisions_key("github"), {"decision": large})
    assert [each.delivery for each in decided(receiver)] == ["first"]


@pytest.mark.threat(57)
def test_forged_decisions_are_skipped(receiver: LocalReceiver) -> None:
    receiver.push(delivery="first")
    for fields in ({"decision": b"\xff"}, {"decision": "[]"}, {"x": "y"}, {"decision": '{"app": "github"}'}):
        receiver.redis.xadd(redis_keys.decisions_key("github"), fields)  # type: ignore[arg-type]
    receiver.push(delivery="second")
    shown = content(receiver.get("/apps/github/decisions"))["decisions"]
    assert [each["delivery"] for each in shown] == ["second", "first"]


@pytest.mark.promise(8)
def test_decisions_page_hides_refusals(receiver: LocalReceiver) -> None:
    receiver.push(delivery="first")
    receiver.push(event="ping", delivery="second")
    receiver.push(secret="another secret of 16 bytes")
    refused(receiver)
    shown = content(receiver.get("/apps/github/decisions"))["decisions"]
    assert [(each["delivery"], each["verdict"]) for each in shown] == [("second", "ignored"), ("first", "queued")]
    assert shown == [each.model_dump(mode="json") for each in decided(receiver)[::-1]]
    assert content(receiver.get("/apps/gogs/decisions")) == {"decisions": []}
