"""A stopped worker finishes its deployment and loses no push."""

import signal
from pathlib import Path

import pytest

from hookd.model.deployment import Status
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for

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
