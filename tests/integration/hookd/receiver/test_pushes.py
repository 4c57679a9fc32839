"""A push is recorded and queued in one step. Other events are answered with the reason and not stored."""

from typing import Any

import pytest

from hookd.config import ConfigError
from hookd.eventlog import JsonFormatter, TextFormatter
from hookd.model import redis_keys
from hookd.model.deployment import Status, Trigger
from hookd.model.git_hosts import GitHost
from hookd.queue.rq_classes import SafeJob
from hookd.receiver.server import build
from tests.support.receiver import FORM, NEW, OLD, ZEROS, LocalReceiver, content, form_of, push_body
from tests.support.signatures import REDELIVERED, SECRET, headers_of

SECOND = "the secret after the rotation"
RECEIVER = {"public_url": "https://deploy.example.org/"}


@pytest.mark.parametrize("sender", GitHost)
def test_push_returns_its_deployment(receiver: LocalReceiver, sender: str) -> None:
    response = receiver.push(sender)
    assert response.status_code == 202
    answer = content(response)
    deployment = answer["deployment"]
    url = f"https://deploy.example.org/deployments/{deployment}"
    assert answer == {"status": "queued", "deployment": deployment, "status_url": url}


def test_record_and_job_share_one_id(receiver: LocalReceiver) -> None:
    deployment = content(receiver.push())["deployment"]
    record = receiver.records.get(deployment)
    assert (record.app, record.status, record.trigger) == ("github", Status.QUEUED, Trigger.PUSH)
    assert (record.delivery, record.claimed_commit, record.pinned_commit) == (REDELIVERED, NEW, None)
    job = SafeJob.fetch(deployment, connection=receiver.redis)
    assert (job.func_name, job.args) == (redis_keys.DEPLOY, [deployment])
    assert receiver.records.queue.get_job_ids() == [deployment]


@pytest.mark.parametrize("sender", GitHost)
def test_forms_are_verified_per_sender(receiver: LocalReceiver, sender: str) -> None:
    body = push_body(sender, message="naïve ☃ + 100%")
    form = form_of(body)
    signed_bytes = body if GitHost(sender).signs_form_value else form
    headers = headers_of(sender, signed_bytes, content_type=f"{FORM}; charset=utf-8")
    assert receiver.post(f"/hooks/{sender}", form, headers).status_code == 202
    assert receiver.stored() > 0


@pytest.mark.parametrize("sender", GitHost)
def test_sha256_repositories_work(receiver: LocalReceiver, sender: str) -> None:
    response = receiver.push(sender, push_body(sender, before="a" * 64, after="b" * 64))
    deployment = content(response)["deployment"]
    assert receiver.records.get(deployment).claimed_commit == "b" * 64


@pytest.mark.threat(6)
@pytest.mark.promise(9)
def test_payload_decides_nothing(receiver: LocalReceiver) -> None:
    body = push_body("github", clone_url="https://evil.example/x.git", head_commit={"id": "--upload-pack=x"})
    deployment = content(receiver.push(body=body))["deployment"]
    assert "evil" not in receiver.records.get(deployment).model_dump_json()
    assert SafeJob.fetch(deployment, connection=receiver.redis).args == [deployment]


IGNORED: dict[str, tuple[dict[str, Any], str]] = {
    "another branch": ({"ref": "refs/heads/feature"}, "another branch, this app deploys main"),
    "a tag": ({"ref": "refs/tags/v1"}, "a tag, this app deploys the branch main"),
    "a tag of the branch's name": ({"ref": "refs/tags/main"}, "a tag, this app deploys the branch main"),
    "a deleted tag": ({"ref": "refs/tags/v1", "after": ZEROS}, "a tag, this app deploys the branch main"),
    "the deleted branch": ({"after": ZEROS}, "the branch main was deleted, the release stays"),
    "the deleted branch, SHA-256": (
        {"before": "a" * 64, "after": "0" * 64},
        "the branch main was deleted, the release stays",
    ),
    "a test button": ({"before": NEW}, "a test delivery, the branch did not move"),
    "another repository": ({"repository": {"full_name": "acme/other"}}, "another repository, this app is acme/github"),
}


@pytest.mark.parametrize(("changes", "reason"), [pytest.param(*case, id=name) for name, case in IGNORED.items()])
def test_other_pushes_are_ignored(receiver: LocalReceiver, changes: dict[str, Any], reason: str) -> None:
    response = receiver.push(body=push_body("github", **changes))
    assert (response.status_code, content(response)) == (200, {"status": "ignored", "reason": reason})
    assert receiver.stored() == 0


@pytest.mark.parametrize("event", ["create", "delete", "release", "issues", "Push Hook"])
@pytest.mark.parametrize("sender", GitHost)
def test_another_event_is_ignored(receiver: LocalReceiver, sender: str, event: str) -> None:
    response = receiver.push(sender, event=event)
    assert (response.status_code, content(response)) == (
        200,
        {"status": "ignored", "reason": f"the event is {event!r}, not a push"},
    )
    assert receiver.stored() == 0


def test_other_event_headers_are_ignored(receiver: LocalReceiver) -> None:
    body = push_body("gitea")
    headers = {**headers_of("gitea", body, event="create"), "X-GitHub-Event": "push", "X-Gogs-Event": "push"}
    assert content(receiver.post("/hooks/gitea", body, headers))["status"] == "ignored"
    assert receiver.stored() == 0


def test_missing_event_is_ignored(receiver: LocalReceiver) -> None:
    assert content(receiver.push(event=""))["reason"] == "the request names no event"
    assert receiver.stored() == 0


@pytest.mark.parametrize("sender", GitHost)
def test_a_ping_is_answered_with_pong(receiver: LocalReceiver, sender: str) -> None:
    response = receiver.push(sender, b'{"zen": "Keep it logically awesome."}', event="ping")
    assert (response.status_code, content(response)["status"]) == (200, "pong")
    assert receiver.stored() == 0


@pytest.mark.threat(10)
@pytest.mark.promise(52, 68)
def test_rotation_accepts_two_secrets(receiver: LocalReceiver) -> None:
    file = receiver.config.settings.receiver.secrets / "github"
    file.write_text(f"{SECRET}\n{SECOND}\n")
    rotating = LocalReceiver(build(receiver.config), receiver.redis, receiver.config)
    assert rotating.push(secret=SECRET).status_code == 202
    assert rotating.push(secret=SECOND).status_code == 200
    assert rotating.push(secret="the secret before the rotation").status_code == 401
    file.write_text(f"{SECOND}\n")
    rotated = LocalReceiver(build(receiver.config), receiver.redis, receiver.config)
    assert rotated.push(secret=SECRET).status_code == 401
    file.write_text(SECRET)


@pytest.mark.threat(10)
def test_secrets_are_per_app(receiver: LocalReceiver) -> None:
    file = receiver.config.settings.receiver.secrets / "gogs"
    file.write_text(SECOND)
    apart = LocalReceiver(build(receiver.config), receiver.redis, receiver.config)
    assert apart.push("github", secret=SECOND).status_code == 401
    assert apart.push("gogs", secret=SECOND).status_code == 202
    file.write_text(SECRET)


@pytest.mark.threat(2)
@pytest.mark.parametrize("content", ["", "short", "\n", f"{SECRET}\nshort", "\n".join([SECRET] * 3)])
def test_bad_secret_stops_the_start(receiver: LocalReceiver, content: str) -> None:
    file = receiver.config.settings.receiver.secrets / "gitea"
    file.write_text(content)
    with pytest.raises(ConfigError, match="gitea: holds"):
        build(receiver.config)
    file.write_text(SECRET)


def test_log_holds_no_secrets(receiver: LocalReceiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    body = push_body("github", before=OLD)
    headers = headers_of("github", body)
    deployment = content(receiver.post("/hooks/github", body, headers))["deployment"]
    receiver.post("/hooks/github", body + b" ", headers)
    receiver.post("/hooks/nobody\nelse", body, headers)
    lines = [TextFormatter().format(record) for record in caplog.records]
    assert lines == [
        f"INFO hookd.receiver.app push app=github answer=queued deployment={deployment}",
        "WARNING hookd.receiver.app refused signature app=github client=127.0.0.1 check=wrong signature",
        "WARNING hookd.receiver.app refused signature app=- client=127.0.0.1 check=no such app",
    ]
    text = "".join(lines + [JsonFormatter().format(record) for record in caplog.records])
    for hidden in (SECRET, headers["X-Hub-Signature-256"].partition("=")[2], "nobody"):
        assert hidden not in text
