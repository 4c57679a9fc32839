"""The status of an app: the reason of its lag, and the one command that ends it."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from hookd.cli import main
from hookd.model.decision import Lag, Verdict
from hookd.model.deployment import Status, Trigger, advance
from hookd.model.written import WrittenFiles
from hookd.queue.deployments import DeploymentRequest
from hookd.queue.published import AppStatus
from hookd.queue.rq_keys import QUEUE_WORKERS
from tests.support.receiver import LocalReceiver, run_receiver

APP, COMMIT, HEAD = "github", "ab" * 20, "cd" * 20


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalReceiver]:
    with run_receiver(tmp_path_factory.mktemp("standing")) as running:
        yield running


def shown(receiver: LocalReceiver, view: AppStatus, *command: str) -> list[str]:
    """Publish how an app stands, and return what a command prints."""
    receiver.redis.set(f"hookd:app:{APP}", view.model_dump_json())
    path = receiver.config.settings.state.parent / "hookd.toml"
    with patch.dict(os.environ, HOOKD_CONFIG=str(path)):
        done = CliRunner().invoke(main, [*command, APP])
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.mark.parametrize("command", ["status", "why"])
@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (Verdict.WAITING, f"  next: hookd deploy {APP}"),
        (Verdict.QUARANTINED, f"  next: hookd deploy {APP}"),
        (
            Verdict.UNREACHABLE,
            f"  next: hookd doctor {APP}",
        ),
    ],
)
def test_lag_is_shown_with_its_remedy(receiver: LocalReceiver, verdict: Verdict, sentence: str, command: str) -> None:
    late = Lag(commits=2, since=datetime.now(UTC), verdict=verdict, why="it is so")
    lines = shown(receiver, AppStatus(app=APP, deployed_commit=COMMIT, head=HEAD, lag=late), command)
    assert sentence in lines, lines
    assert [line for line in lines if "because it is so" in line]


def test_current_app_has_no_hint(receiver: LocalReceiver) -> None:
    assert not [
        line
        for line in shown(receiver, AppStatus(app=APP, deployed_commit=HEAD, head=HEAD), "status")
        if "next" in line
    ]


def test_new_app_has_a_deploy_hint(receiver: LocalReceiver) -> None:
    assert f"  next: hookd deploy {APP}" in shown(receiver, AppStatus(app=APP), "status")
    assert "  nothing is deployed yet" in shown(receiver, AppStatus(app=APP, head=HEAD), "status")


def test_written_files_are_shown(receiver: LocalReceiver) -> None:
    old = WrittenFiles(release="000001-abababababab", number=1, paths=("data/\x1b",), directories=("data",), kept=True)
    new = WrittenFiles(release="000002-abababababab", number=9, paths=("data/a", "b"), directories=("data",))
    view = AppStatus(app=APP, deployed_commit=HEAD, head=HEAD, written=(new, old))
    lines = shown(receiver, view, "status")
    assert "  data/a, b and 7 more were written into the release 000002-abababababab" in lines
    assert lines[-1].endswith(f"app edit {APP} --set 'shared.directories=[\"data\"]'")


@pytest.mark.parametrize("command", ["status", "why"])
def test_waiting_deployment_needs_a_worker(receiver: LocalReceiver, command: str) -> None:
    """Another deployment would only join it."""
    waiting = receiver.records.request(DeploymentRequest(app=APP, trigger=Trigger.PUSH, seconds=60)).deployment
    again = receiver.records.request(DeploymentRequest(app=APP, trigger=Trigger.PUSH, seconds=60))
    try:
        assert "  next: hookd worker" in shown(receiver, AppStatus(app=APP), command)
        receiver.redis.sadd(QUEUE_WORKERS, "rq:worker:one")
        lines = shown(receiver, AppStatus(app=APP), command)
    finally:
        receiver.redis.delete(QUEUE_WORKERS)
        receiver.records.change(waiting, lambda old: advance(old, Status.CANCELLED, datetime.now(UTC)))
    assert again.verdict is Verdict.COALESCED
    assert f"  next: hookd logs {APP} --follow" in lines
