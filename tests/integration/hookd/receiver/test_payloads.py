"""Payloads of real senders and their answers. tests/data/README.md names their sources."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookd.receiver.server import build
from tests.support.installation import Installation
from tests.support.processes import PROJECT
from tests.support.receiver import LocalReceiver, content, run_receiver
from tests.support.signatures import SECRET, headers_of

DATA = PROJECT / "tests" / "data"
EXAMPLES = DATA / "octokit-webhooks-examples"
COMMIT = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
TAG = "a tag, this app deploys the branch master"


@pytest.fixture(scope="module")
def module_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalReceiver]:
    """An application that deploys the repository and the branch of the examples."""
    with run_receiver(tmp_path_factory.mktemp("payloads")) as running:
        apps = running.config.path.parent / "apps" / "github.toml"
        table = apps.read_text().replace("acme/github", "Codertocat/Hello-World")
        apps.write_text('branch = "master"\n' + table)
        config = Installation(running.config.path.parent).config
        yield LocalReceiver(build(config), running.redis, config)


def examples(event: str) -> list[Path]:
    """List the examples of an event."""
    return sorted(EXAMPLES.glob(f"{event}-*.json"))


def test_no_example_is_missing() -> None:
    found = {event: len(examples(event)) for event in ("push", "ping", "create", "delete")}
    assert found == {"push": 7, "ping": 4, "create": 5, "delete": 4}
    assert len(list(EXAMPLES.glob("*.json"))) == sum(found.values())


@pytest.mark.parametrize("directory", ["octokit-webhooks-examples", "gidgethub"])
def test_every_directory_holds_its_licence(directory: str) -> None:
    assert "copyright" in (DATA / directory / "LICENSE").read_text().lower()


@pytest.mark.promise(5)
@pytest.mark.parametrize("file", examples("push"), ids=lambda file: file.stem)
def test_real_payloads_are_classified(receiver: LocalReceiver, file: Path) -> None:
    body = file.read_bytes()
    response = receiver.push(body=body)
    if json.loads(body)["ref"] == "refs/heads/master":
        assert response.status_code == 202
        assert receiver.records.get(content(response)["deployment"]).claimed_commit == COMMIT
    else:
        assert (response.status_code, content(response)) == (200, {"status": "ignored", "reason": TAG})
        assert receiver.stored() == 0


def test_examples_hold_branches_and_tags() -> None:
    refs = [json.loads(file.read_bytes())["ref"] for file in examples("push")]
    assert sorted(refs) == ["refs/heads/master"] * 2 + ["refs/tags/simple-tag"] * 5


@pytest.mark.parametrize("file", examples("ping"), ids=lambda file: file.stem)
def test_a_ping_is_answered_with_pong(receiver: LocalReceiver, file: Path) -> None:
    response = receiver.push(body=file.read_bytes(), event="ping")
    assert (response.status_code, content(response)["status"]) == (200, "pong")
    assert receiver.stored() == 0


@pytest.mark.parametrize("event", ["create", "delete"])
def test_what_came_or_went_is_ignored(receiver: LocalReceiver, event: str) -> None:
    for file in examples(event):
        response = receiver.push(body=file.read_bytes(), event=event)
        reason = f"the event is '{event}', not a push"
        assert (response.status_code, content(response)) == (200, {"status": "ignored", "reason": reason})
    assert receiver.stored() == 0


@pytest.mark.parametrize("event", ["ping", "create", "delete"])
def test_other_payloads_as_push_are_refused(receiver: LocalReceiver, event: str) -> None:
    for file in examples(event):
        assert receiver.push(body=file.read_bytes(), event="push").status_code == 400
    assert receiver.stored() == 0


def captured(body: bytes) -> dict[str, str]:
    """Return the headers of the captured form delivery, with a signature over `body`."""
    headers: dict[str, str] = json.loads((DATA / "gidgethub" / "ping.headers.json").read_text())
    return {**headers, "X-Hub-Signature-256": headers_of("github", body)["X-Hub-Signature-256"]}


def test_a_captured_form_delivery_is_understood(receiver: LocalReceiver) -> None:
    form = (DATA / "gidgethub" / "ping.form").read_bytes()
    response = receiver.post("/hooks/github", form, captured(form))
    assert (response.status_code, content(response)["status"]) == (200, "pong")


def test_changed_form_delivery_is_refused(receiver: LocalReceiver) -> None:
    form = (DATA / "gidgethub" / "ping.form").read_bytes()
    response = receiver.post("/hooks/github", form.replace(b"awesome", b"awesom3"), captured(form))
    assert response.status_code == 401
    assert SECRET not in response.text
