"""The programs of the worker refuse another user than the owner of the state, and root."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.processes import PROJECT, python
from tests.support.users import NOBODY, needs_root

pytestmark = needs_root
JOB = "from worker.job import deploy; deploy('shop-20260304T050607000-0a1b2c')"
RQ_CLASSES = {
    "RQ_JOB_CLASS": "hookd.queue.rq_classes.SafeJob",
    "RQ_QUEUE_CLASS": "hookd.queue.rq_classes.SafeQueue",
    "RQ_WORKER_CLASS": "worker.rq_worker.SafeWorker",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose state belongs to nobody, as a server's belongs to manager."""
    with Installation(tmp_path_factory.mktemp("hookd")) as installation:
        installation.add_app("shop")
        installation.start_redis()
        state = installation.config.settings.state
        state.mkdir()
        os.chown(state, NOBODY, NOBODY)
        yield installation


def run(site: Installation, *argv: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as root until it ends."""
    environment = {**site.environment, "PYTHONPATH": str(PROJECT), **variables}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.threat(26)
@pytest.mark.parametrize("module", ["worker", "worker.reconcile"])
def test_module_refuses_root(site: Installation, module: str) -> None:
    done = run(site, *python("-m", module))
    assert done.returncode == 2
    assert "belongs to nobody, and this is root" in done.stderr
    assert "next=" in done.stderr
    assert os.listdir(site.config.settings.state) == []


@pytest.mark.threat(26)
@pytest.mark.parametrize("command", ["worker", "reconcile"])
def test_command_refuses_root(site: Installation, command: str) -> None:
    done = run(site, *python("-m", "hookd.cli", command))
    state = site.config.settings.state
    assert done.returncode == 2
    assert done.stderr == f"hookd: {state} belongs to nobody, and this is root\n  next: ls -ld {state}\n"


@pytest.mark.threat(26)
def test_plain_rq_worker_refuses_root(site: Installation) -> None:
    rq = Path(python()[0]).with_name("rq")
    done = run(site, str(rq), "worker", "--url", site.redis_url, "--burst", "hookd", **RQ_CLASSES)
    assert done.returncode == 1
    assert "hookd: " in done.stderr and "belongs to nobody, and this is root\n  next: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.threat(26)
def test_job_refuses_root(site: Installation) -> None:
    """RQ's own worker class would run the job's function."""
    done = run(site, *python("-c", JOB))
    assert done.stderr.splitlines()[-1].endswith("belongs to nobody, and this is root")
    assert os.listdir(site.config.settings.state) == []
