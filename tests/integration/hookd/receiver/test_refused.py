"""Refused requests: the operator sees the failed check, and the sender learns nothing."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from hookd.model import redis_keys
from hookd.model.decision import Verdict
from hookd.model.git_hosts import GitHost
from hookd.queue import counters, published
from hookd.queue.client import receiver_client
from hookd.receiver.refusal_log import RefusalLog
from tests.support.decisions import FULL, counted, decided, refusal, refused
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.receiver import FORM, LocalReceiver, everything, form_of, push_body
from tests.support.redis_server import redis_server
from tests.support.signatures import REDELIVERED, SECRET, headers_of, signed

RECEIVER = {"max_body": 65536}


def spoilt(sender: str, body: bytes) -> dict[str, tuple[dict[str, str], bytes, str]]:
    """Build requests without a right signature: headers, body, and the operator's message."""
    right = headers_of(sender, body)
    name = GitHost(sender).signature
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
@pytest.mark.parametrize("sender", GitHost)
def test_operator_sees_the_failed_check(receiver: LocalReceiver, sender: str, case: str) -> None:
    headers, body, why = spoilt(sender, push_body(sender))[case]
    assert receiver.post(f"/hooks/{sender}", body, headers).status_code == 401
    [found] = refused(receiver)
    assert (found.verdict, found.app, found.why) == (Verdict.REFUSED, sender, f"{why}, from 127.0.0.1")
    assert (found.event, found.delivery) == ("push", REDELIVERED)
    assert decided(receiver, sender) == [], "readers of the app's decisions learn nothing of it"
    assert counted(receiver, sender).refused == 1
    assert counted(receiver, sender).delivered_at is None


def test_unsignable_form_is_named(receiver: LocalReceiver) -> None:
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
def test_wrong_sender_is_hinted(receiver: LocalReceiver, app: str, sends: str, told: str) -> None:
    body = push_body(app)
    receiver.post(f"/hooks/{app}", body, headers_of(sends, body))
    assert told in refused(receiver)[0].why


def test_unknown_app_is_escaped(receiver: LocalReceiver) -> None:
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
    receiver: LocalReceiver, length: int, change: dict[str, str], status: int, why: str
) -> None:
    body = push_body("github").ljust(length)
    assert receiver.post("/hooks/github", body, {**headers_of("github", body), **change}).status_code == status
    assert refused(receiver)[0].why == f"{why}, from 127.0.0.1"
    assert counted(receiver).refused == 0


@pytest.mark.threat(2)
def test_all_bad_signatures_get_one_answer(receiver: LocalReceiver) -> None:
    answers = set()
    for sender in GitHost:
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


def test_neither_secret_nor_signature_is_kept(receiver: LocalReceiver) -> None:
    body = push_body("github")
    digest = signed(body)
    receiver.push(body=body)
    receiver.post("/hooks/github", body + b" ", headers_of("github", body))
    refused(receiver)
    kept = everything(receiver.redis)
    assert "refs/heads/main" in kept
    for hidden in (SECRET, digest):
        assert hidden not in kept


@pytest.mark.threat(82)
def test_lost_refusals_are_logged_once(receiver: LocalReceiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.redis.xadd(redis_keys.REFUSALS, {"decision": "{}"}, id=FULL)
    refusal_log = RefusalLog(receiver.redis)
    for number in range(3):
        refusal_log.note(refusal(str(number)), signature=True)
        assert refusal_log.flush()
    assert counted(receiver).refused == 3
    assert caplog.messages.count("refusals not kept") == 1
    receiver.redis.delete(redis_keys.REFUSALS)
    refusal_log.note(refusal("later"), signature=True)
    assert refusal_log.flush()
    assert [each.why for each in refused(receiver)] == ["later"]


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
        assert len(published.read_refusals(redis, 500)) == published.MAX_ENTRIES


def test_refusals_survive_a_stop(site: Installation) -> None:
    body = push_body("github")
    with Redis.from_url(site.redis_url) as redis:
        with site.receiver():
            assert site.post("/hooks/github", body, headers_of("github", b"other"))[0] == 401
        assert len(published.read_refusals(redis, 10)) == 1


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
        refusal_log.note(refusal("first"), signature=True)
        wait_for(lambda: refusal_log.tries > 3, what="some tries")
        refusal_log.note(refusal("second"), signature=True)
        with redis_server(tmp_path):
            wait_for(lambda: counters.read_counters(redis, ["github"])[0].refused == 2, what="the numbers")
            assert [each.why for each in published.read_refusals(redis, 10)] == ["second", "first"]
    assert caplog.messages.count("refusals wait for Redis") == 1, "it is said once"
