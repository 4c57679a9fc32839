"""Requests to circus: errors, a silent socket and unknown services."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from hookd.model.tables.service import Service
from tests.support.installation import Installation
from tests.support.tasks import deploying, make_app
from worker.context import AppTask
from worker.errors import CommandFailed
from worker.service.circus import ask, control, process_ids

APPS: dict[str, dict[str, str]] = {"shop": {}}


def service(endpoint: str) -> Service:
    return Service(manager="circus", endpoint=endpoint)


def test_silence_ends_the_question(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/nobody.sock"
    with pytest.raises(CommandFailed, match=f"^circus did not answer at {endpoint} within 0.5 s$"):
        ask(service(endpoint), "status", "shop", 0.5)


@pytest.mark.parametrize("verb", ["status", "list", "start"])
def test_an_unknown_service_is_an_error(site: Installation, verb: str) -> None:
    with pytest.raises(CommandFailed, match=r"^circus: .*cellar"):
        ask(service(site.endpoint), verb, "cellar")


def test_a_stopped_service_says_so(site: Installation) -> None:
    assert ask(service(site.endpoint), "status", "shop-blue")["status"] == "stopped"
    assert process_ids(service(site.endpoint), "shop-blue") == ()


@contextmanager
def answering(endpoint: str, *answers: dict[str, Any]) -> Iterator[list[str]]:
    """Answer requests as circus does, and collect their commands."""
    asked: list[str] = []

    def serve() -> None:
        for answer in answers:
            peer, request = server.recv_multipart()
            asked.append(json.loads(request)["command"])
            server.send_multipart([peer, json.dumps(answer).encode()])

    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.bind(endpoint)
        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join()


@contextmanager
def stopping(directory: Path, *answers: dict[str, Any]) -> Iterator[tuple[AppTask, list[str]]]:
    """Yield the task of an app whose circus gives these answers, and the commands that it got."""
    endpoint = f"ipc://{directory}/c.sock"
    app = make_app(directory, service={"manager": "circus", "endpoint": endpoint})
    with deploying(directory, app) as at, answering(endpoint, *answers) as asked:
        at.task.paths.lock.parent.mkdir(parents=True)
        yield at.task, asked


def test_busy_circus_is_asked_again(tmp_path: Path) -> None:
    busy = {"status": "error", "errno": 5, "reason": "arbiter is already running watcher_stop command"}
    with stopping(tmp_path, busy, busy, {"status": "ok"}) as (task, asked):
        control(task, "stop", "shop")
    assert asked == ["stop", "stop", "stop"]


def test_refused_command_is_not_repeated(tmp_path: Path) -> None:
    refused = {"status": "error", "errno": 3, "reason": "program shop not found"}
    with (
        stopping(tmp_path, refused) as (task, asked),
        pytest.raises(CommandFailed, match=r"^circus: program shop not found$"),
    ):
        control(task, "stop", "shop")
    assert asked == ["stop"]


def test_command_ends_with_circus(tmp_path: Path) -> None:
    """The deployment would wait for its step's limit, and keep its worker and circus from ending."""
    ends = {"status": "error", "errno": 5, "reason": "arbiter is already running arbiter_stop command"}
    with stopping(tmp_path, ends) as (task, asked), pytest.raises(CommandFailed, match="arbiter_stop"):
        control(task, "stop", "shop")
    assert asked == ["stop"]
