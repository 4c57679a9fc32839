"""A stopped worker finishes its deployment and loses no push."""

import signal
from pathlib import Path

import pytest

from hookd.model.deployment import Status
from tests.support.installation import Installation, app_files
from tests.support.processes import python, running, wait_for

# A worker that gets SIGTERM while RQ handles all exceptions, as in the callbacks of its registries.
SWALLOWED = """
import os, runpy, signal, sys
from rq.exceptions import StopRequested
from worker.recovery import redis_repair
def clean(*_):
    redis_repair.clean_registries = lambda *_: None
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except StopRequested:
        print("swallowed", flush=True)
redis_repair.clean_registries = clean
sys.argv = ["worker", "deaf"]
runpy.run_module("worker", run_name="__main__")
"""
# Says that it has begun, and ends when it may.
WAIT = """
import os, sys, time
begun, go = sys.argv[1:]
open(begun, "w").close()
while not os.path.exists(go):
    time.sleep(0.02)
"""


@pytest.mark.threat(34)
def test_stopped_worker_finishes_its_deployment(tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    with Installation(tmp_path) as site:
        site.add_app("shop", handover="restart", build={"commands": [["python", "-c", WAIT, str(begun), str(go)]]})
        site.start(workers=0)
        worker = site.start_worker("worker")
        site.repositories["shop"].commit_and_push(app_files("one"))
        first = site.send_push()["deployment"]
        wait_for(begun.exists, what="the build")
        site.repositories["shop"].commit_and_push(app_files("two"))
        second = site.send_push()["deployment"]
        worker.send_signal(signal.SIGTERM)
        redis = site.records.connection
        wait_for(lambda: redis.hexists("rq:worker:worker", "shutdown_requested_date"), what="the worker to know")
        assert site.records.get(first).status is Status.RUNNING
        go.touch()
        assert worker.wait(60) == 0
        assert site.records.get(first).status is Status.SUCCEEDED
        assert (site.serving(), site.records.get(second).status) == ("one", Status.QUEUED)
        site.start_worker("worker")
        assert site.wait_for_ending(second).status is Status.SUCCEEDED
        assert site.serving() == "two"


def test_swallowed_stop_ends_the_worker(tmp_path: Path) -> None:
    with Installation(tmp_path) as site:
        site.start_redis()
        log = tmp_path / "deaf.log"
        with running(python("-c", SWALLOWED), log, site.environment) as worker:
            assert worker.wait(30) == 0
    assert "swallowed" in log.read_text()
