"""The same delivery again, a further push while one waits, and the sender's "redeliver" button after a failure."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from hookd.model.deployment import RETRYABLE_ENDINGS, Status, Trigger
from hookd.model.git_hosts import GitHost
from tests.support.receiver import LocalReceiver, content, push_body

DONE = (Status.SUCCEEDED, Status.UNCHANGED)


def pushed(receiver: LocalReceiver, delivery: str | None = "first", sender: str = "github") -> tuple[int, str, str]:
    """Send a push and return the HTTP status, the status in the answer and the deployment."""
    response = receiver.push(sender, delivery=delivery)
    answer = content(response)
    return response.status_code, answer["status"], answer["deployment"]


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
    assert pushed(receiver, None) == (202, "coalesced", waiting)
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


def test_missing_id_is_no_duplicate(receiver: LocalReceiver) -> None:
    _, _, first = pushed(receiver, None)
    receiver.end(first, Status.SUCCEEDED)
    code, answer, second = pushed(receiver, None)
    assert (code, answer) == (202, "queued")
    assert second != first


@pytest.mark.parametrize("delivery", ["", "a b", "a:b", "../x", "x" * 129, "é", "a,b"])
def test_unsafe_id_is_not_stored(receiver: LocalReceiver, delivery: str) -> None:
    code, _, deployment = pushed(receiver, delivery)
    assert code == 202
    assert receiver.records.get(deployment).delivery is None
    assert not receiver.redis.keys("hookd:delivery:*")


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
def test_replayed_request_deploys_once(receiver: LocalReceiver, status: Status) -> None:
    _, _, deployment = pushed(receiver)
    if status is not Status.QUEUED:
        receiver.end(deployment, status)
    stored = receiver.stored()
    assert {pushed(receiver) for _ in range(99)} == {(200, "duplicate", deployment)}
    assert receiver.stored() == stored
    assert receiver.records.queue.get_job_ids() == [deployment]


@pytest.mark.threat(4)
def test_replayed_failures_run_in_turn(receiver: LocalReceiver) -> None:
    """Each may repeat a failed build. The worker skips a release that was started and found bad."""
    made = set()
    for _ in range(25):
        _, _, deployment = pushed(receiver)
        assert [pushed(receiver) for _ in range(3)] == [(200, "duplicate", deployment)] * 3
        receiver.end(deployment, Status.ROLLED_BACK)
        made.add(deployment)
    assert len(made) == 25
    assert {record.status for record in receiver.records.history("github", 100)} == {Status.ROLLED_BACK}


@pytest.mark.threat(6)
@pytest.mark.promise(9, 11)
def test_reordered_pushes_deploy_the_head(receiver: LocalReceiver) -> None:
    commits = [f"{number:040x}" for number in range(40, 0, -1)]
    bodies = [push_body("github", after=commit) for commit in commits]
    answers = [content(receiver.push(body=body, delivery=str(at))) for at, body in enumerate(bodies)]
    assert [answer["status"] for answer in answers] == ["queued"] + ["coalesced"] * 39
    record = receiver.records.get(answers[0]["deployment"])
    assert (record.coalesced, record.pinned_commit, record.commit) == (39, None, None)
