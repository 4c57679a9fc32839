"""Daemons of a build end with their step, also if a process of the worker is killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from hookd.model.deployment import Status, Trigger
from hookd.queue.deployments import DeploymentRequest
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.raw_jobs import status_of
from worker.process.subreaper import stat_fields

# Forks twice, in a session of its own, says who it is, and writes on and on; what started it ends, or stays.
DAEMON = """
import os, sys, time
book, stays = sys.argv[1], sys.argv[2] == "stays"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open(book, "w") as file:
            file.write(str(os.getpid()))
        while True:
            open(book + ".work", "a").write("more")
            time.sleep(0.02)
    os._exit(0)
while not os.path.exists(book + ".work"):
    time.sleep(0.01)
if stays:
    time.sleep(600)
"""


@pytest.fixture
def hookd(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as installation:
        installation.add_app("shop", handover="restart", service={"preflight": []})
        installation.repositories["shop"].commit_and_push({"README": "nothing to install"})
        installation.start_redis()
        yield installation


def log_of(hookd: Installation, deployment_id: str) -> str:
    return hookd.config.settings.log_path("shop", deployment_id).read_text()


class Freed:
    """The daemon that a build started."""

    def __init__(self, hookd: Installation, how: str) -> None:
        self.book = hookd.directory / "daemon"
        self.work = hookd.directory / "daemon.work"
        commands = [["python", "-c", DAEMON, str(self.book), how], ["sleep", "600"]]
        hookd.change_app("shop", build={"commands": commands})

    def wait_until_it_works(self) -> None:
        wait_for(lambda: self.work.exists() and self.book.read_text(), what="the daemon")

    @property
    def lives(self) -> bool:
        return lives(int(self.book.read_text()))

    def wait_for_its_end(self) -> None:
        wait_for(lambda: not self.lives, 10, what="the end of the daemon")


def lives(pid: int) -> bool:
    try:
        return stat_fields(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    return int(stat_fields(pid)[1])


def below(top: int) -> list[int]:
    """Return all living descendants of a process."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(process.name)] = parent_of(int(process.name))
    found = [top]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return [one for one in found[1:] if lives(one)]


def ask(hookd: Installation) -> str:
    return hookd.records.request(DeploymentRequest(app="shop", trigger=Trigger.MANUAL, seconds=300)).deployment


@pytest.mark.threat(47)
def test_daemon_ends_with_its_build_command(hookd: Installation) -> None:
    freed = Freed(hookd, "ends")
    worker = hookd.start_worker()
    deployment = ask(hookd)
    freed.wait_until_it_works()
    freed.wait_for_its_end()
    wait_for(lambda: "$ sleep 600" in log_of(hookd, deployment), what="the next command")
    wait_for(lambda: len(below(hookd.deployer("shop"))) == 1, what="the next command alone")
    worker.kill()


@pytest.mark.threat(13, 47)
@pytest.mark.parametrize("who", [("worker",), ("horse", "worker"), ("keeper", "horse")])
def test_killed_process_leaves_nothing_running(hookd: Installation, who: tuple[str, ...]) -> None:
    freed = Freed(hookd, "stays")
    worker = hookd.start_worker()
    ask(hookd)
    freed.wait_until_it_works()
    horse = hookd.deployer("shop")
    pids = {"horse": horse, "keeper": parent_of(horse), "worker": worker.pid}
    tree = below(worker.pid)
    assert len(tree) == 4, "the keeper, the deploying process, the command and the daemon"
    for one in who:
        with suppress(ProcessLookupError):  # It may have ended with its parent.
            os.kill(pids[one], signal.SIGKILL)
    freed.wait_for_its_end()
    wait_for(lambda: not [one for one in tree if lives(one)], 10, "the end of all")
    worker.kill()


@pytest.mark.threat(47)
@pytest.mark.parametrize("who", ["horse", "keeper"])
def test_worker_survives_and_deploys_again(hookd: Installation, who: str) -> None:
    freed = Freed(hookd, "stays")
    worker = hookd.start_worker()
    first = ask(hookd)
    freed.wait_until_it_works()
    horse = hookd.deployer("shop")
    hookd.change_app("shop", build={"commands": [["false"]]})
    os.kill(horse if who == "horse" else parent_of(horse), signal.SIGKILL)
    ended = hookd.wait_for_ending(first, 10)
    assert (ended.status, ended.cause) == (Status.FAILED, "the deploying process was killed")
    assert not freed.lives
    with Redis.from_url(hookd.redis_url) as client:
        wait_for(lambda: status_of(client, first) == "failed", what="RQ's own ending")
    wait_for(lambda: len(hookd.records.history("shop", 9)) == 2, what="the next deployment")
    again, _ = hookd.records.history("shop", 9)
    assert again.trigger is Trigger.RECONCILE
    hookd.wait_for_ending(again.id)
    assert worker.poll() is None
    wait_for(lambda: not below(worker.pid), what="the end of the next deployment's processes")
