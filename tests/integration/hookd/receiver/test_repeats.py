"""The same push again, a further push while one waits, and the sender's "redeliver" button after a failure."""

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from hookd.model.deployment import RETRYABLE_ENDINGS, Status, Trigger
from hookd.model.git_hosts import GitHost
from hookd.model.redis_keys import counts_key, decisions_key, polled_key, push_key
from hookd.queue.answers import MAX_RETRIES
from hookd.queue.published import MAX_ENTRIES
from tests.support.receiver import FORM, LocalReceiver, content, push_body
from tests.support.signatures import headers_of

DONE = (Status.SUCCEEDED, Status.UNCHANGED)
PUSH = push_body("github")


def pushed(
    receiver: LocalReceiver, delivery: str | None = "first", sender: str = "github", body: bytes | None = None
) -> tuple[int, str, str]:
    """Send a push and return the HTTP status, the status in the answer and the deployment.

    Without a body, another delivery is another push.
    """
    response = receiver.push(sender, body, delivery=delivery)
    answer = content(response)
    return response.status_code, answer["status"], answer["deployment"]


def replayed(receiver: LocalReceiver, body: bytes = PUSH) -> tuple[int, str, str]:
    """Send a captured push under a fresh delivery id."""
    return pushed(receiver, str(uuid.uuid4()), body=body)


@pytest.mark.parametrize("sender", GitHost)
def test_duplicate_gets_its_deployment(receiver: LocalReceiver, sender: str) -> None:
    _, _, deployment = pushed(receiver, sender=sender)
    stored = receiver.stored()
    assert pushed(receiver, sender=sender) == (200, "duplicate", deployment)
    assert receiver.records.get(deployment).coalesced == 0
    assert receiver.stored() == stored


@pytest.mark.parametrize("status", DONE)
def test_finished_delivery_is_not_repeated(receiver: LocalReceiver, status: Status) -> None:
    _, _, deployment = pushed(receiver)
    receiver.end(deployment, status)
    assert pushed(receiver) == (200, "duplicate", deployment)


@pytest.mark.threat(15)
@pytest.mark.parametrize("status", sorted(RETRYABLE_ENDINGS))
def test_a_delivery_that_failed_runs_again(receiver: LocalReceiver, status: Status) -> None:
    _, _, failed = pushed(receiver)
    receiver.end(failed, status)
    code, answer, again = pushed(receiver)
    assert (code, answer) == (202, "queued")
    assert again != failed
    assert receiver.records.get(again).trigger is Trigger.REDELIVERY
    assert receiver.records.get(failed).status is status


def test_redelivery_has_duplicates(receiver: LocalReceiver) -> None:
    _, _, failed = pushed(receiver)
    receiver.end(failed, Status.FAILED)
    _, _, again = pushed(receiver)
    assert pushed(receiver) == (200, "duplicate", again)


@pytest.mark.promise(10)
def test_pushes_coalesce(receiver: LocalReceiver) -> None:
    _, _, waiting = pushed(receiver, "first")
    assert pushed(receiver, "second") == (202, "coalesced", waiting)
    assert pushed(receiver, "third") == (202, "coalesced", waiting)
    assert receiver.records.get(waiting).coalesced == 2
    assert receiver.records.queue.get_job_ids() == [waiting]


def test_coalesced_delivery_keeps_its_deployment(receiver: LocalReceiver) -> None:
    _, _, waiting = pushed(receiver, "first")
    pushed(receiver, "second")
    assert pushed(receiver, "second") == (200, "duplicate", waiting)
    assert receiver.records.get(waiting).coalesced == 1


def test_started_deployment_does_not_coalesce(receiver: LocalReceiver) -> None:
    _, _, first = pushed(receiver, "first")
    receiver.end(first, Status.SUCCEEDED)
    code, answer, second = pushed(receiver, "second")
    assert (code, answer) == (202, "queued")
    assert second != first


def test_apps_share_neither_deliveries_nor_deployments(receiver: LocalReceiver) -> None:
    _, _, one = pushed(receiver, sender="gitea")
    code, answer, other = pushed(receiver, sender="gogs")
    assert (code, answer) == (202, "queued")
    assert other != one


def test_missing_id_changes_nothing(receiver: LocalReceiver) -> None:
    _, _, first = pushed(receiver, None)
    receiver.end(first, Status.SUCCEEDED)
    assert pushed(receiver, None) == (200, "duplicate", first)
    code, answer, second = pushed(receiver, None, body=push_body("github", before="3" * 40))
    assert (code, answer) == (202, "queued")
    assert second != first


def test_same_id_is_no_duplicate(receiver: LocalReceiver) -> None:
    """GitHub gives all webhooks of a push one id."""
    _, _, first = pushed(receiver, "same", body=PUSH)
    receiver.end(first, Status.SUCCEEDED)
    assert pushed(receiver, "same", body=push_body("github", after="3" * 40))[1] == "queued"


@pytest.mark.parametrize("delivery", ["", "a b", "a:b", "../x", "x" * 129, "é", "a,b"])
def test_unsafe_id_is_not_stored(receiver: LocalReceiver, delivery: str) -> None:
    code, _, deployment = pushed(receiver, delivery)
    assert code == 202
    assert receiver.records.get(deployment).delivery is None


@pytest.mark.threat(54)
def test_concurrent_pushes_make_one_deployment(receiver: LocalReceiver) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: pushed(receiver, f"delivery-{number}"), range(24)))
    assert len({deployment for _, _, deployment in answers}) == 1
    assert sorted(answer for _, answer, _ in answers) == ["coalesced"] * 23 + ["queued"]
    assert receiver.records.get(answers[0][2]).coalesced == 23


@pytest.mark.threat(4)
def test_concurrent_duplicates_make_one_deployment(receiver: LocalReceiver) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: pushed(receiver, "same"), range(24)))
    assert sorted(answer for _, answer, _ in answers) == ["duplicate"] * 23 + ["queued"]
    assert receiver.records.queue.count == 1


def test_an_ignored_delivery_is_not_remembered(receiver: LocalReceiver) -> None:
    receiver.push(body=push_body("github", ref="refs/heads/other"), delivery="first")
    assert pushed(receiver, "first")[:2] == (202, "queued")


@pytest.mark.threat(4)
@pytest.mark.promise(11)
@pytest.mark.parametrize("status", [Status.QUEUED, *DONE])
def test_replay_adds_nothing(receiver: LocalReceiver, status: Status) -> None:
    """Send a captured push again under the same delivery id and under fresh ones."""
    _, _, deployment = pushed(receiver, body=PUSH)
    if status is not Status.QUEUED:
        receiver.end(deployment, status)
    stored = entries(receiver)
    assert {replayed(receiver) for _ in range(250)} == {(200, "duplicate", deployment)}
    assert {pushed(receiver, body=PUSH) for _ in range(3)} == {(200, "duplicate", deployment)}
    assert entries(receiver) == stored
    assert receiver.records.get(deployment).coalesced == 0
    assert receiver.records.queue.get_job_ids() == [deployment]
    assert receiver.redis.xlen(decisions_key("github")) == MAX_ENTRIES


def entries(receiver: LocalReceiver) -> dict[bytes, bytes]:
    """Return all content of Redis but decisions and counters, which have a fixed size."""
    bounded = (decisions_key("github").encode(), counts_key("github").encode())
    return {key: receiver.redis.dump(key) or b"" for key in receiver.redis.scan_iter() if key not in bounded}


@pytest.mark.threat(4)
def test_coalesced_replay_adds_nothing(receiver: LocalReceiver) -> None:
    pushed(receiver, "first")
    _, _, deployment = pushed(receiver, "second", body=PUSH)
    receiver.end(deployment, Status.SUCCEEDED)
    stored = entries(receiver)
    assert {replayed(receiver) for _ in range(20)} == {(200, "duplicate", deployment)}
    assert entries(receiver) == stored


@pytest.mark.threat(4)
@pytest.mark.parametrize("sender", ["gitea", "forgejo", "gogs"])
def test_replay_in_another_encoding_adds_nothing(receiver: LocalReceiver, sender: str) -> None:
    """Gitea and its kin sign a form's value, so a captured push has many valid bodies."""
    body = push_body(sender)
    headers = headers_of(sender, body)
    first = content(receiver.post(f"/hooks/{sender}", body, headers))["deployment"]
    for safe in ("", "{", "{}", '"'):
        form = b"payload=" + quote(body, safe=safe).encode()
        answer = content(receiver.post(f"/hooks/{sender}", form, {**headers, "Content-Type": FORM}))
        assert (answer["status"], answer["deployment"]) == ("duplicate", first)


@pytest.mark.threat(4)
@pytest.mark.promise(24)
def test_replayed_failure_runs_a_few_times(receiver: LocalReceiver) -> None:
    """Retry a failed build ten times at most. The worker skips a release that was started and found bad."""
    made = set()
    for _ in range(25):
        _, _, deployment = replayed(receiver)
        assert [replayed(receiver) for _ in range(3)] == [(200, "duplicate", deployment)] * 3
        if not receiver.records.get(deployment).ended:
            receiver.end(deployment, Status.ROLLED_BACK)
        made.add(deployment)
    assert len(made) == 1 + MAX_RETRIES
    assert len(receiver.records.history("github", 100)) == len(made)


@pytest.mark.threat(83)
def test_remembered_pushes_have_a_limit(receiver: LocalReceiver) -> None:
    """Keep one of two pushes whose fingerprints begin alike."""
    one, other = alike()
    _, _, deployment = pushed(receiver, body=one)
    receiver.end(deployment, Status.SUCCEEDED)
    stored = len(receiver.redis.keys(push_key("github", "*")))
    assert pushed(receiver, body=other)[1] == "queued"
    assert len(receiver.redis.keys(push_key("github", "*"))) == stored == 1
    assert pushed(receiver, body=other)[1] == "duplicate"
    assert pushed(receiver, body=one)[1] == "coalesced"


def alike() -> tuple[bytes, bytes]:
    """Return two pushes with one place."""
    places: dict[str, bytes] = {}
    for number in range(5000):
        body = push_body("github", number=number)
        key = push_key("github", hashlib.sha256(body).hexdigest())
        if key in places:
            return places[key], body
        places[key] = body
    raise AssertionError("an app has more than 4096 places")


@pytest.mark.threat(4)
@pytest.mark.parametrize("status", [None, *DONE])
def test_duplicate_hastens_the_poll(receiver: LocalReceiver, status: Status | None) -> None:
    """A forced push back and forth can have the payload of an earlier one."""
    _, _, deployment = pushed(receiver)
    polled: Any = {"at": 1.0, "run_id": "one"}
    receiver.redis.hset(polled_key("github"), mapping=polled)
    if status is not None:
        receiver.end(deployment, status)
    assert pushed(receiver, "second")[0] == 202
    assert receiver.redis.hget(polled_key("github"), "run_id") == b"one"
    assert pushed(receiver)[1] == "duplicate"
    assert receiver.redis.hgetall(polled_key("github")) == {b"at": b"1.0"}


@pytest.mark.threat(6)
@pytest.mark.promise(9, 11)
def test_reordered_pushes_deploy_the_head(receiver: LocalReceiver) -> None:
    commits = [f"{number:040x}" for number in range(40, 0, -1)]
    bodies = [push_body("github", after=commit) for commit in commits]
    answers = [content(receiver.push(body=body, delivery=str(at))) for at, body in enumerate(bodies)]
    assert [answer["status"] for answer in answers] == ["queued"] + ["coalesced"] * 39
    record = receiver.records.get(answers[0]["deployment"])
    assert (record.coalesced, record.pinned_commit, record.commit) == (39, None, None)
