"""What the receiver decided about each delivery, and why: kept for people, without a word of it to strangers."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from hookd import freezes
from hookd.model import redis_keys
from hookd.model.decision import Decision, Verdict
from hookd.model.deployment import Status
from hookd.model.eligibility import Freeze
from hookd.queue import counters, decision_log
from hookd.queue.client import receiver_client
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.senders import SENDERS
from tests.support.installation import SECRET, Installation
from tests.support.processes import wait_for
from tests.support.receiver import (
    FORM,
    NEW,
    REDELIVERED,
    Bench,
    content,
    everything,
    form_of,
    headers_of,
    push_body,
    signed,
)
from tests.support.redis_server import redis_server

RECEIVER = {"max_body": 65536}
REASON = "the database moves"


def decided(receiver: Bench, app: str = "github") -> list[Decision]:
    """The app's decisions, the oldest first."""
    return decision_log.read_newest(receiver.redis, app, 100)[::-1]


def refused(receiver: Bench, count: int = 1) -> list[Decision]:
    """The refused requests, the oldest first, when all of them have come to Redis."""
    wait_for(lambda: len(decision_log.read_refusals(receiver.redis, 500)) >= count, what="the refusals")
    return decision_log.read_refusals(receiver.redis, 500)[::-1]


def counted(receiver: Bench, app: str = "github") -> counters.Counters:
    [found] = counters.read_counters(receiver.redis, [app])
    return found


@pytest.mark.threat(44)
def test_pushes_are_recorded_with_decisions(receiver: Bench) -> None:
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


def test_failed_delivery_is_queued_again(receiver: Bench) -> None:
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
    receiver: Bench, changes: dict[str, Any], event: str, why: str, seen: tuple[str, str] | None
) -> None:
    receiver.push(body=push_body("github", **changes), event=event)
    [found] = decided(receiver)
    assert (found.verdict, found.event, found.delivery) == (Verdict.IGNORED, event, REDELIVERED)
    assert found.why.startswith(why)
    assert (found.repository, found.ref) == ((seen[0], f"refs/heads/{seen[1]}") if seen else (None, None))
    assert counted(receiver).deliveries[Verdict.IGNORED] == 1


def test_other_content_types_are_recorded(receiver: Bench) -> None:
    assert receiver.push(content_type="text/plain").status_code == 415
    assert decided(receiver)[0].why.startswith("answered 415: the content type must be application/json or")


def test_a_strangers_text_is_cut(receiver: Bench) -> None:
    body = push_body("github", ref="refs/heads/" + "é" * 1000, repository={"full_name": "x" * 500})
    receiver.push(body=body, event="push", delivery="d" * 5000)
    [found] = decided(receiver)
    assert len(found.ref or "") == len(found.repository or "") == 300
    assert len(found.delivery or "") == 100
    assert receiver.push(event="e" * 5000).status_code == 200
    assert len(decided(receiver)[1].event or "") == 100


@pytest.mark.threat(55)
def test_only_so_many_are_kept(receiver: Bench) -> None:
    for number in range(decision_log.MAX_ENTRIES + 5):
        receiver.push(event="ping", delivery=f"d-{number}")
    assert receiver.redis.xlen(redis_keys.decisions_key("github")) == decision_log.MAX_ENTRIES
    assert counted(receiver).deliveries[Verdict.IGNORED] == decision_log.MAX_ENTRIES + 5


def spoilt(sender: str, body: bytes) -> dict[str, tuple[dict[str, str], bytes, str]]:
    """Requests without a right signature: headers, body, and what the operator is told."""
    right = headers_of(sender, body)
    name = SENDERS[sender].signature
    without = {key: value for key, value in right.items() if key != name}
    shape = "sha256= and 64" if sender == "github" else "64"
    return {
        "missing": (without, body, f"the header {name} is missing, has the webhook a secret?"),
        "malformed": ({**right, name: "sha1=1234"}, body, f"{name} is not {shape} lower-case hexadecimal digits"),
        "empty": ({**right, name: ""}, body, f"{name} is not {shape} lower-case hexadecimal digits"),
        "other secret": (
            headers_of(sender, body, secret="x" * 20),
            body,
            f"{name} matches none of the app's secrets",
        ),
        "other body": (right, body + b" ", f"{name} matches none of the app's secrets"),
    }


@pytest.mark.parametrize("case", spoilt("github", b""))
@pytest.mark.parametrize("sender", SENDERS)
def test_operator_sees_the_failed_check(receiver: Bench, sender: str, case: str) -> None:
    headers, body, why = spoilt(sender, push_body(sender))[case]
    assert receiver.post(f"/hooks/{sender}", body, headers).status_code == 401
    [found] = refused(receiver)
    assert (found.verdict, found.app, found.why) == (Verdict.REFUSED, sender, f"{why}, from 127.0.0.1")
    assert (found.event, found.delivery) == ("push", REDELIVERED)
    assert decided(receiver, sender) == [], "readers of the app's decisions learn nothing of it"
    assert counted(receiver, sender).refused == 1
    assert counted(receiver, sender).delivered_at is None


def test_unsignable_form_is_named(receiver: Bench) -> None:
    form = b"payload=%7B%7D&more=1"
    receiver.post("/hooks/gitea", form, headers_of("gitea", form, content_type=FORM))
    assert refused(receiver)[0].why.startswith("gitea signs forms with one field, named payload")


@pytest.mark.parametrize(
    ("app", "sends", "told"),
    [
        ("gitea", "github", "X-Hub-Signature-256 is there: is sender = 'gitea' right, or is it 'github'?"),
        ("github", "gogs", "X-Gogs-Signature is there: is sender = 'github' right, or is it 'gogs'?"),
        ("forgejo", "gitea", "X-Gitea-Signature is there: is sender = 'forgejo' right, or is it 'gitea'?"),
    ],
)
def test_wrong_sender_is_hinted(receiver: Bench, app: str, sends: str, told: str) -> None:
    body = push_body(app)
    receiver.post(f"/hooks/{app}", body, headers_of(sends, body))
    assert told in refused(receiver)[0].why


def test_unknown_app_is_escaped(receiver: Bench) -> None:
    body = push_body("github")
    for name in ("shpo", "%1b[31m%0Ax", "x" * 5000):
        receiver.post(f"/hooks/{name}", body, headers_of("github", body))
    first, second, third = refused(receiver, 3)
    assert (first.app, first.why) == (None, "no app is called 'shpo', from 127.0.0.1")
    assert second.why == r"no app is called '\x1b[31m\nx', from 127.0.0.1"
    assert len(third.why) < 150
    assert counted(receiver, counters.NO_APP).refused == 3


@pytest.mark.parametrize(
    ("length", "change", "status", "why"),
    [
        (100, {"Transfer-Encoding": "chunked"}, 411, "411, a Content-Length is required"),
        (65_537, {}, 413, "413, a body has at most 65536 bytes"),
    ],
)
def test_refused_bodies_are_no_bad_signatures(
    receiver: Bench, length: int, change: dict[str, str], status: int, why: str
) -> None:
    body = push_body("github").ljust(length)
    assert receiver.post("/hooks/github", body, {**headers_of("github", body), **change}).status_code == status
    assert refused(receiver)[0].why == f"{why}, from 127.0.0.1"
    assert counted(receiver).refused == 0


@pytest.mark.threat(2)
def test_all_bad_signatures_get_one_answer(receiver: Bench) -> None:
    answers = set()
    for sender in SENDERS:
        body = push_body(sender)
        for headers, sent, _ in spoilt(sender, body).values():
            for path in (f"/hooks/{sender}", "/hooks/nobody"):
                response = receiver.post(path, sent, headers)
                answers.add((response.status, response.data, tuple(response.headers)))
        form = form_of(body) + b"&x=1"
        response = receiver.post(f"/hooks/{sender}", form, headers_of(sender, b"other", content_type=FORM))
        answers.add((response.status, response.data, tuple(response.headers)))
    assert len(answers) == 1
    assert next(iter(answers))[:2] == ("401 UNAUTHORIZED", b'{"error":"invalid signature"}\n')


def test_neither_secret_nor_signature_is_kept(receiver: Bench) -> None:
    body = push_body("github")
    digest = signed(body)
    receiver.push(body=body)
    receiver.post("/hooks/github", body + b" ", headers_of("github", body))
    refused(receiver)
    kept = everything(receiver.redis)
    assert "refs/heads/main" in kept
    for hidden in (SECRET, digest):
        assert hidden not in kept


@pytest.fixture
def frozen(receiver: Bench) -> Iterator[Bench]:
    """The same, with an app that somebody froze."""
    freezes.freeze(receiver.config.frozen, "github", Freeze(reason=REASON, since=datetime.now(UTC), by="ada"))
    yield receiver
    freezes.thaw(receiver.config.frozen, "github")


@pytest.mark.threat(42)
@pytest.mark.promise(47)
def test_frozen_push_is_recorded_only(frozen: Bench) -> None:
    response = frozen.push()
    assert (response.status_code, content(response)["status"]) == (200, "frozen")
    assert REASON in content(response)["reason"] and "by ada" in content(response)["reason"]
    assert frozen.stored() == 0
    [found] = decided(frozen)
    assert (found.verdict, found.claimed_commit, found.deployment) == (Verdict.FROZEN, NEW, None)
    assert REASON in found.why
    assert counted(frozen).deliveries[Verdict.FROZEN] == 1


def test_freeze_is_shown_to_signed_requests_only(frozen: Bench) -> None:
    body = push_body("github")
    response = frozen.post("/hooks/github", body, headers_of("github", b"other"))
    assert (response.status_code, response.data) == (401, b'{"error":"invalid signature"}\n')
    assert content(frozen.push(event="ping"))["status"] == "pong"


def test_another_app_is_not_frozen_with_it(frozen: Bench) -> None:
    assert frozen.push("gitea").status_code == 202


def test_thaw_needs_no_restart(frozen: Bench) -> None:
    assert content(frozen.push())["status"] == "frozen"
    over = datetime.now(UTC) - timedelta(hours=1)
    freezes.freeze(frozen.config.frozen, "github", Freeze(reason=REASON, since=over, until=over))
    assert content(frozen.push())["status"] == "queued", "it was never answered with a deployment"
    freezes.freeze(frozen.config.frozen, "github", Freeze(reason=REASON, since=over))
    assert content(frozen.push(delivery="next"))["status"] == "frozen"
    freezes.thaw(frozen.config.frozen, "github")
    assert content(frozen.push(delivery="next"))["status"] == "coalesced"


@pytest.mark.parametrize("text", ["", "{", '{"reason": ""}', "x" * 5000])
def test_unreadable_freeze_holds(frozen: Bench, text: str) -> None:
    (frozen.config.frozen / "github").write_text(text)
    assert content(frozen.push())["status"] == "frozen"


def test_long_reason_is_cut(frozen: Bench) -> None:
    freezes.freeze(frozen.config.frozen, "github", Freeze(reason="x" * 300, since=datetime.now(UTC), by="y" * 64))
    assert content(frozen.push())["status"] == "frozen"
    assert len(decided(frozen)[0].why) == 300


@pytest.mark.threat(44)
@pytest.mark.parametrize("key", ["decisions", "counts"])
def test_wrong_key_type_costs_no_push(receiver: Bench, key: str) -> None:
    receiver.redis.set(
        {"decisions": redis_keys.decisions_key, "counts": redis_keys.counts_key}[key]("github"), "poison"
    )
    answers = [content(receiver.push(delivery=each))["status"] for each in ("one", "two", "two")]
    assert answers == ["queued", "coalesced", "duplicate"]
    assert content(receiver.push(event="ping"))["status"] == "pong"
    [deployment] = receiver.records.history("github", 10)
    assert receiver.end(deployment.id, Status.SUCCEEDED).status is Status.SUCCEEDED
    body = push_body("github")
    assert receiver.post("/hooks/github", body, headers_of("github", b"other")).status_code == 401
    assert refused(receiver)[0].app == "github"


# The last id there is: Redis then refuses each further entry.
FULL = "18446744073709551615-18446744073709551615"


@pytest.mark.threat(82)
def test_frozen_push_survives_a_full_stream(frozen: Bench, caplog: pytest.LogCaptureFixture) -> None:
    frozen.redis.xadd(redis_keys.decisions_key("github"), {"decision": "{}"}, id=FULL)
    response = frozen.push()
    assert (response.status_code, content(response)["status"]) == (200, "frozen")
    assert counted(frozen).deliveries[Verdict.FROZEN] == 1
    assert "decision not kept" in caplog.messages


@pytest.mark.threat(82)
def test_frozen_push_needs_redis(frozen: Bench) -> None:
    frozen.redis.config_set("maxmemory", 1)
    try:
        assert frozen.push().status_code == 503
    finally:
        frozen.redis.config_set("maxmemory", 0)


@pytest.mark.threat(82)
def test_lost_refusals_are_logged_once(receiver: Bench, caplog: pytest.LogCaptureFixture) -> None:
    receiver.redis.xadd(redis_keys.REFUSALS, {"decision": "{}"}, id=FULL)
    refusal_log = RefusalLog(receiver.redis)
    for number in range(3):
        refusal_log.record(refusal(str(number)), signature=True)
        assert refusal_log.flush()
    assert counted(receiver).refused == 3
    assert caplog.messages.count("refusals not kept") == 1
    receiver.redis.delete(redis_keys.REFUSALS)
    refusal_log.record(refusal("later"), signature=True)
    assert refusal_log.flush()
    assert [each.why for each in refused(receiver)] == ["later"]


@pytest.mark.threat(81)
def test_huge_decisions_are_skipped(receiver: Bench) -> None:
    receiver.push(delivery="first")
    large = decided(receiver)[0].model_dump_json()[:-1] + ',"more":[' + "[]," * 400_000 + "[]]}"
    receiver.redis.xadd(redis_keys.decisions_key("github"), {"decision": large})
    assert [each.delivery for each in decided(receiver)] == ["first"]


@pytest.mark.threat(57)
def test_forged_decisions_are_skipped(receiver: Bench) -> None:
    receiver.push(delivery="first")
    for fields in ({"decision": b"\xff"}, {"decision": "[]"}, {"x": "y"}, {"decision": '{"app": "github"}'}):
        receiver.redis.xadd(redis_keys.decisions_key("github"), fields)  # type: ignore[arg-type]
    receiver.push(delivery="second")
    shown = content(receiver.get("/apps/github/decisions"))["decisions"]
    assert [each["delivery"] for each in shown] == ["second", "first"]


@pytest.mark.promise(8)
def test_decisions_page_hides_refusals(receiver: Bench) -> None:
    receiver.push(delivery="first")
    receiver.push(event="ping", delivery="second")
    receiver.push(secret="another secret of 16 bytes")
    refused(receiver)
    shown = content(receiver.get("/apps/github/decisions"))["decisions"]
    assert [(each["delivery"], each["verdict"]) for each in shown] == [("second", "ignored"), ("first", "queued")]
    assert shown == [each.model_dump(mode="json") for each in decided(receiver)[::-1]]
    assert content(receiver.get("/apps/gogs/decisions")) == {"decisions": []}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A receiver in one process of four threads, as few as may be."""
    settings = {"receiver": {"processes": 1, "threads": 4}}
    with Installation(tmp_path, settings) as installation:
        installation.add_app("github", sender="github")
        installation.start_redis()
        yield installation


@contextmanager
def hung(redis: Redis) -> Iterator[None]:
    """Let Redis answer nothing for as long as the block."""
    process = int(redis.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.threat(55)
def test_refusals_do_not_wait_for_redis(site: Installation) -> None:
    """With a hung Redis and one wait of 0.8 s for each, 400 of them would hold the four threads for 80 s."""
    body = push_body("github")
    wrong = headers_of("github", b"other")
    with site.receiver(), Redis.from_url(site.redis_url) as redis:
        with hung(redis):
            assert {site.post("/hooks/github", body, wrong)[0] for _ in range(400)} == {401}
        wait_for(lambda: counters.read_counters(redis, ["github"])[0].refused >= 400, what="the numbers of all")
        assert len(decision_log.read_refusals(redis, 500)) == decision_log.MAX_ENTRIES


def test_refusals_survive_a_stop(site: Installation) -> None:
    body = push_body("github")
    with Redis.from_url(site.redis_url) as redis:
        with site.receiver():
            assert site.post("/hooks/github", body, headers_of("github", b"other"))[0] == 401
        assert len(decision_log.read_refusals(redis, 10)) == 1


class Counting(RefusalLog):
    """Counts how often it tried to bring its notes to Redis."""

    tries = 0

    def flush(self) -> bool:
        self.tries += 1
        return super().flush()


@pytest.mark.threat(55)
def test_refusals_survive_a_redis_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with receiver_client(f"unix://{tmp_path}/redis.sock?db=0") as redis:
        refusal_log = Counting(redis, retry_seconds=0.01)
        refusal_log.record(refusal("first"), signature=True)
        wait_for(lambda: refusal_log.tries > 3, what="some tries")
        refusal_log.record(refusal("second"), signature=True)
        with redis_server(tmp_path):
            wait_for(lambda: counters.read_counters(redis, ["github"])[0].refused == 2, what="the numbers")
            assert [each.why for each in decision_log.read_refusals(redis, 10)] == ["second", "first"]
    assert caplog.messages.count("refusals wait for Redis") == 1, "it is said once"


def refusal(why: str) -> Decision:
    return Decision(at=datetime.now(UTC), app="github", source="delivery", verdict=Verdict.REFUSED, why=why)
