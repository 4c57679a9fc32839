"""Idle workers rest: one stays ready, the others wake for a job or in place of the ready one."""

import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from redis import Redis

from hookd.model.deployment import Status
from tests.support.abandoned import kill, log_of
from tests.support.guarded import GuardedInstallation
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for

SETTINGS = {"worker": {"rest_seconds": 1}}
WORKERS = ("rq:worker:hookd-1", "rq:worker:hookd-2")
# Says that it has begun, and ends when it may.
WAIT = """
import os, sys, time
begun, go = sys.argv[1:]
open(begun, "w").close()
while not os.path.exists(go):
    time.sleep(0.02)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """An installation with a Redis whose workers rest soon."""
    with Installation(tmp_path, SETTINGS) as made:
        yield made


def start_two(site: Installation) -> tuple["Popen[bytes]", "Popen[bytes]"]:
    """Start two workers, and wait until the second one rests."""
    ready, resting = site.start_worker("hookd-1"), site.start_worker("hookd-2")
    wait_for(lambda: rests(resting), what="the rest")
    return ready, resting


def rests(worker: "Popen[bytes]") -> bool:
    """Return True if a process is the small program of a resting worker."""
    return b"standby.py" in Path(f"/proc/{worker.pid}/cmdline").read_bytes()


def entries(site: Installation) -> set[str]:
    """Return the workers whose entry in Redis is alive."""
    client = Redis.from_url(site.redis_url)
    listed: Any = client.smembers("rq:workers")
    return {key.decode() for key in listed if client.exists(key) and not client.hexists(key, "death")}


def test_second_worker_rests(site: Installation) -> None:
    site.start_redis()
    ready, _ = start_two(site)
    assert not rests(ready)
    assert entries(site) == set(WORKERS)
    assert "worker rests worker=hookd-2" in log_of(site)
    assert "worker stops" not in log_of(site)


def test_resting_entry_is_renewed(site: Installation) -> None:
    site.start_redis()
    client = Redis.from_url(site.redis_url)
    _, resting = start_two(site)
    client.expire(WORKERS[1], 40)
    wait_for(lambda: client.ttl(WORKERS[1]) > 60, what="the renewal")
    assert rests(resting)


def test_lost_entry_is_written_again(site: Installation) -> None:
    site.start_redis()
    client = Redis.from_url(site.redis_url)
    start_two(site)
    client.delete(WORKERS[1])
    wait_for(lambda: client.hexists(WORKERS[1], "birth"), what="the entry")


def test_waiting_job_wakes_a_worker(site: Installation, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    build = {"commands": [["python", "-c", WAIT, str(begun), str(go)]]}
    site.add_app("slow", handover="restart", build=build).commit_and_push(app_files("slow"))
    site.add_app("shop", handover="restart").commit_and_push(app_files("one"))
    site.start(workers=0)
    _, resting = start_two(site)
    slow = site.send_push("slow")["deployment"]
    wait_for(begun.exists, what="the build")
    assert rests(resting)
    quick = site.wait_for_ending(site.send_push("shop")["deployment"])
    assert (quick.status, site.serving("shop")) == (Status.SUCCEEDED, "one")
    assert site.records.get(slow).status is Status.RUNNING
    go.touch()
    assert site.wait_for_ending(slow).status is Status.SUCCEEDED
    wait_for(lambda: rests(resting), what="the next rest")
    assert entries(site) == set(WORKERS)


def test_killed_ready_worker_is_replaced(site: Installation) -> None:
    site.start_redis()
    ready, resting = start_two(site)
    kill(ready)
    wait_for(lambda: not rests(resting), what="the waking")
    wait_for(lambda: entries(site) == {WORKERS[1]}, what="the end of the dead entry")
    again = site.start_worker("hookd-3")
    wait_for(lambda: rests(again), what="the rest of the new one")
    assert not rests(resting)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_resting_worker_stops(site: Installation, number: signal.Signals) -> None:
    site.start_redis()
    _, resting = start_two(site)
    resting.send_signal(number)
    assert resting.wait(10) == 0
    assert entries(site) == {WORKERS[0]}


def test_rest_outlives_a_connection(site: Installation) -> None:
    site.start_redis()
    _, resting = start_two(site)
    client = Redis.from_url(site.redis_url)
    client.client_kill_filter(_type="normal", skipme=True)
    client.expire(WORKERS[1], 40)
    wait_for(lambda: client.ttl(WORKERS[1]) > 60, what="the renewal over a new connection")
    assert rests(resting)
    resting.send_signal(signal.SIGTERM)
    assert resting.wait(10) == 0
    assert entries(site) == {WORKERS[0]}


def test_rest_with_passwords(tmp_path: Path) -> None:
    with GuardedInstallation(tmp_path, settings=SETTINGS) as site:
        site.start_redis()
        ready, resting = start_two(site)
        kill(ready)
        wait_for(lambda: not rests(resting), what="the waking")
        wait_for(lambda: "worker started worker=hookd-2" in log_of(site).partition("worker rests")[2], what="the start")
