"""Floods: thousands of pushes, slow clients, large bodies, a thousand apps, all with bounded counts and memory."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from hookd.model.deployment import Status
from hookd.queue.published import AppStatus, publish_status
from tests.support.installation import Installation, app_files
from tests.support.load import (
    APPS,
    LARGE,
    SLOW_CLIENTS,
    burst,
    catalogue,
    is_held,
    large,
    peaks,
    processes,
    slow_client,
)
from tests.support.nginx import Sites
from tests.support.processes import accepts, python, running, wait_for
from tests.support.receiver import push_body
from tests.support.rendered import HOST
from tests.support.signatures import headers_of

# Without load it has about 60, and 16 threads read at once.
MOST_MB = 130
# bench/floods.py sends five times as many.
PUSHES = 2000
# A build that waits until somebody writes into a pipe.
HOLD = [["sh", "-c", 'read -r go <"$HOOKD_HOLD"']]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Installation]:
    """A receiver and its Redis, with one app."""
    with Installation(tmp_path) as site:
        site.add_app("shop")
        site.start_redis()
        site.start_receiver()
        assert len(processes(site, "serve")) == 1
        yield site


@pytest.mark.threat(54)
def test_flood_makes_two_deployments(tmp_path: Path) -> None:
    with Installation(tmp_path) as site:
        os.mkfifo(hold := tmp_path / "hold")
        build, limits = {"environment": {"HOOKD_HOLD": str(hold)}, "commands": HOLD}, {"silence_seconds": 600}
        site.add_app("shop", handover="restart", build=build, limits=limits).commit_and_push(app_files("one"))
        site.start()
        answers = burst(site, "shop", PUSHES)
        hold.write_text("go\n")
        wait_for(lambda: all(record.ended for record in site.records.history("shop", 100)), 60, "the endings")
        second, first = site.records.history("shop", 100)
        assert set(answers) <= {202, 503, 200, 0}
        assert answers[202] + answers[200] == PUSHES, "each is taken, and one that was stored behind a 503 only once"
        assert (first.status, second.status) == (Status.SUCCEEDED, Status.UNCHANGED)
        assert first.coalesced + second.coalesced == PUSHES - 2
        assert site.serving("shop") == "one"
        assert max(peaks(site)) < MOST_MB
        assert "Traceback" not in (tmp_path / "receiver.log").read_text() + (tmp_path / "worker.log").read_text()


@pytest.mark.threat(8)
def test_slow_clients_do_not_block_pushes() -> None:
    """nginx stands in front, as on a server. The receiver alone would close slow clients after 5 s."""
    with (
        tempfile.TemporaryDirectory(prefix="load-") as directory,
        Installation(Path(directory), {"receiver": {"bind": f"unix:{directory}/hookd/receiver.sock"}}) as site,
    ):
        (site.directory / "hookd").mkdir()
        site.add_app("shop")
        site.start_redis()
        sites = Sites(site.directory)
        sites.write(HOST)
        argv = python("-m", "hookd.cli", "serve")
        with running(argv, site.directory / "receiver.log", site.environment), sites.served():
            wait_for(lambda: accepts(site.directory / "hookd" / "receiver.sock"), what="the receiver")
            clients = [slow_client(sites.port, number) for number in range(SLOW_CLIENTS)]
            for number in range(30):
                body = push_body("shop", delivery=f"d-{number}")
                headers = headers_of("gitea", body, delivery=f"d-{number}")
                assert sites.ask("POST", "/hooks/shop", "deploy.example.org", headers, body)[0] == 202
            assert sum(map(is_held, clients)) == SLOW_CLIENTS, "they were there all the while"
            assert max(peaks(site)) < MOST_MB
            for client in clients:
                client.close()


@pytest.mark.threat(1)
@pytest.mark.parametrize("kind", LARGE)
def test_unsigned_bodies_use_bounded_memory(receiver: Installation, kind: str) -> None:
    head, body, expected = LARGE[kind]
    before = {process.name for process in processes(receiver, "serve")}
    with ThreadPoolExecutor(8) as senders:
        statuses = set(senders.map(lambda _: large(receiver, head, body), range(24)))
    assert statuses <= expected and statuses & {401, 411, 413}
    assert max(peaks(receiver)) < MOST_MB
    assert {process.name for process in processes(receiver, "serve")} == before, "no process was replaced"
    assert receiver.send_push("shop", after="2" * 40)["status"] == "queued"


def commands(redis: Redis) -> Counter[str]:
    """Count the commands that Redis got."""
    stats: Any = redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()})


@pytest.mark.threat(40)
def test_thousand_apps_need_few_redis_calls(tmp_path: Path) -> None:
    with Installation(tmp_path) as site:
        site.write_config()
        apps = catalogue(site, APPS)
        site.start_redis()
        with site.receiver(), Redis.from_url(site.redis_url) as redis:
            for app in (apps[0], apps[-1]):
                body = push_body(app)
                assert site.post(f"/hooks/{app}", body, headers_of("github", body))[0] == 202
            for app in apps:
                publish_status(site.records.connection, AppStatus(app=app, healthy=True))
            before = commands(redis)
            listed = site.post("/apps", b"", {}, method="GET")[1]["apps"]
            assert [each["app"] for each in listed] == sorted(apps)
            assert all(each["healthy"] for each in listed)
            seen = commands(redis)
            assert (seen - before)["mget"] == 1 and (seen - before)["get"] == 0
            page = site.post("/metrics", b"", {}, method="GET")[1]["text"]
            assert page.count("\nhookd_app_healthy{") == page.count("\nhookd_waiting{") == APPS
            assert (commands(redis) - seen)["mget"] == 2 and (commands(redis) - seen)["get"] == 0
            assert max(peaks(site)) < MOST_MB
