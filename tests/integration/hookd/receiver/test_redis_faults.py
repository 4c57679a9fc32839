"""Redis that refuses, loads, is slow, is killed or forgets: 503 in time, and what was answered 202 is there later."""

import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError, ConnectionError
from rq.job import JobStatus

from hookd.model import redis_keys
from hookd.model.deployment import Status
from hookd.queue.rq_classes import SafeJob
from tests.support.guarded import servers
from tests.support.installation import Installation
from tests.support.processes import running, wait_for
from tests.support.receiver import push_body, stored
from tests.support.signatures import headers_of
from tests.support.slow_redis import Slow

# What the receiver promises to every sender, whatever Redis does.
PROMISED_SECONDS = 2.0
UNREACHABLE = {"error": "the queue cannot be reached, try again"}
AOF = ("--appendonly", "yes", "--appendfsync", "everysec")
APPS = [f"app-{number}" for number in range(8)]


@pytest.fixture(params=servers(), ids=lambda path: Path(path).name)
def program(request: pytest.FixtureRequest) -> str:
    """Every server that this machine has."""
    return str(request.param)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A receiver whose Redis each test starts and troubles for itself."""
    with Installation(tmp_path) as installation:
        for app in APPS:
            installation.add_app(app, sender="github")
        installation.redis_url = f"unix://{tmp_path}/redis.sock?db=0"
        installation.write_config()
        (tmp_path / "data").mkdir()
        installation.start_receiver()
        yield installation


@contextmanager
def redis(
    site: Installation, program: str, *options: str, at: str = "redis.sock", loads: bool = False
) -> Iterator[Redis]:
    """Run Redis in a directory that outlives a run. With `loads`, wait until it reads its file."""
    path, data = site.directory / at, site.directory / "data"
    argv = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(data), *AOF, *options]
    with running(argv, site.directory / "redis.log"), Redis.from_url(f"unix://{path}", socket_timeout=5) as client:
        wait_for(lambda: _is_up(client, loads=loads), what="Redis")
        yield client


def _is_up(client: Redis, *, loads: bool) -> bool:
    try:
        return bool(client.ping())
    except BusyLoadingError:
        return loads
    except ConnectionError:
        return False


def pushed(site: Installation, app: str = APPS[0], delivery: str = "d-1") -> tuple[int, dict[str, Any], Any]:
    """Send a signed push and hold the receiver to its promise."""
    body = push_body(app, delivery=delivery)
    start = time.monotonic()
    answer = site.post(f"/hooks/{app}", body, headers_of("github", body, delivery=delivery))
    assert time.monotonic() - start < PROMISED_SECONDS
    return answer


def refused(site: Installation) -> tuple[int, dict[str, Any]]:
    body = push_body(APPS[0])
    return site.post(f"/hooks/{APPS[0]}", body, headers_of("github", b"other"))[:2]


def read_only(client: Redis) -> None:
    client.replicaof("127.0.0.1", "1")


def without_master(client: Redis) -> None:
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof("127.0.0.1", "1")


def snapshot_failed(client: Redis) -> None:
    """Put a directory in the place of the snapshot, so that it cannot be written."""
    (Path(str(client.config_get("dir")["dir"])) / "dump.rdb" / "x").mkdir(parents=True)
    client.config_set("save", "3600 1000000")
    client.bgsave()
    wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="a snapshot that failed")


TROUBLE: dict[str, tuple[str, Callable[[Redis], Any]]] = {
    "OOM": ("OOM", lambda client: client.config_set("maxmemory", 1)),
    "READONLY": ("READONLY", read_only),
    "MASTERDOWN": ("MASTERDOWN", without_master),
    "NOREPLICAS": ("NOREPLICAS", lambda client: client.config_set("min-replicas-to-write", 1)),
    "MISCONF": ("MISCONF", snapshot_failed),
}


@pytest.mark.threat(14)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_read_only_redis_refuses_pushes(site: Installation, program: str, trouble: str) -> None:
    code, cause = TROUBLE[trouble]
    with redis(site, program) as client:
        assert pushed(site, APPS[1])[0] == 202
        before = stored(client)
        cause(client)
        with pytest.raises(Exception, match=f"{code}|used memory|read only|MASTERDOWN|MISCONF|NOREPLICAS"):
            client.set("x", "y")
        status, answer, headers = pushed(site)
        assert (status, answer) == (503, UNREACHABLE)
        assert int(headers["Retry-After"]) > 0
        assert refused(site) == (401, {"error": "invalid signature"})
        healed(client)
        assert stored(client) == before
        assert pushed(site)[0] == 202


def healed(client: Redis) -> None:
    """Undo every trouble."""
    client.replicaof("NO", "ONE")
    for name, value in (
        ("maxmemory", 0),
        ("min-replicas-to-write", 0),
        ("save", ""),
        ("replica-serve-stale-data", "yes"),
    ):
        client.config_set(name, value)


def fill(file: Path) -> None:
    """Take up all the room that is left on a disk."""
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass


@pytest.mark.threat(14)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk that is small")
def test_full_disk_refuses_pushes_and_heals(site: Installation, program: str) -> None:
    data = site.directory / "data"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(data)], check=False).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        with redis(site, program) as client:
            assert pushed(site, APPS[1])[0] == 202
            filler = data / "filler"
            fill(filler)
            wait_for(lambda: pushed(site, delivery=str(time.monotonic()))[0] == 503, what="a disk that is noticed")
            assert pushed(site, APPS[2])[:2] == (503, UNREACHABLE)
            filler.unlink()
            wait_for(lambda: pushed(site, APPS[3])[0] in (200, 202), what="a disk with room")
            taken = client.get(redis_keys.waiting_key(APPS[3]))
        with redis(site, program) as client:
            assert client.get(redis_keys.waiting_key(APPS[3])) == taken
            assert client.get(redis_keys.waiting_key(APPS[1]))
    finally:
        subprocess.run(["umount", str(data)], check=True)


def test_loading_redis_refuses_pushes(site: Installation, program: str) -> None:
    slowly = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    with redis(site, program, "--aof-use-rdb-preamble", "yes") as client:
        assert pushed(site)[0] == 202
        for number in range(1000):
            client.set(f"filler:{number}", "x" * 100)
        client.bgrewriteaof()
        wait_for(lambda: not client.info("persistence")["aof_rewrite_in_progress"], what="the file's new form")
    with redis(site, program, *slowly, loads=True):
        assert pushed(site)[:2] == (503, UNREACHABLE)
        assert refused(site)[0] == 401
        wait_for(lambda: pushed(site)[0] != 503, what="a Redis that has read its file")
        assert pushed(site)[1]["status"] == "duplicate"


def enough(taken: Sized, count: int) -> bool:
    return len(taken) >= count


@pytest.fixture
def fast_disk(site: Installation) -> Iterator[None]:
    """Redis' data on a disk that keeps up: on a slow one Redis answers up to 2 s before it writes (docs/queue.md)."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        (site.directory / "data").rmdir()
        (site.directory / "data").symlink_to(directory)
        yield


@pytest.mark.threat(14)
@pytest.mark.usefixtures("fast_disk")
def test_accepted_pushes_survive_a_kill(site: Installation, program: str) -> None:
    taken: dict[tuple[str, str], str] = {}

    def send(number: int) -> None:
        app, delivery = APPS[number % len(APPS)], f"d-{number}"
        status, answer, _ = pushed(site, app, delivery)
        assert status in (202, 503)
        if status == 202:
            taken[app, delivery] = answer["deployment"]

    for round_ in range(3):
        with redis(site, program) as client:
            process = int(client.info("server")["process_id"])
            with ThreadPoolExecutor(4) as senders:
                sent = [senders.submit(send, round_ * 1000 + number) for number in range(200)]
                wait_for(partial(enough, taken, 60 * (round_ + 1)), what="some pushes")
                os.kill(process, signal.SIGKILL)
                for each in sent:
                    each.result()
    assert len(taken) >= 180
    with redis(site, program) as client:
        remembered = 0
        for (app, delivery), deployment in taken.items():
            repeated = pushed(site, app, delivery)[1]
            assert repeated["deployment"] == deployment
            remembered += repeated["status"] == "duplicate"
            assert site.records.get(deployment).status is Status.QUEUED
        assert remembered > 0.8 * len(taken), "few took the place of another"
        waiting = set(taken.values())
        assert len(waiting) == len(APPS), "one waits for each app"
        for deployment in waiting:
            assert SafeJob.fetch(deployment, connection=client).get_status() in (
                JobStatus.QUEUED,
                JobStatus.RATE_LIMITED,
            )


def test_empty_redis_accepts_pushes(site: Installation, program: str) -> None:
    with redis(site, program) as client:
        first = pushed(site)[1]["deployment"]
        client.flushall()
        status, answer, _ = pushed(site)
        assert (status, answer["status"]) == (202, "queued")
        assert answer["deployment"] != first
    shutil.rmtree(site.directory / "data")
    (site.directory / "data").mkdir()
    with redis(site, program):
        assert pushed(site)[0] == 202


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.7])
def test_slow_redis_has_a_total_limit(site: Installation, program: str, seconds: float) -> None:
    """Each single answer comes in time. A coalesced push needs five of them, and one more on a new connection.

    One that joins nothing needs four, the last of which may come late. So a deployment waits from the start.
    """
    with redis(site, program, at="behind.sock"):
        slow = Slow(site.directory / "redis.sock", site.directory / "behind.sock", 0)
        try:
            assert pushed(site, APPS[2], "before")[0] == 202
            slow.seconds = seconds
            statuses = [pushed(site, APPS[2], f"d-{number}")[0] for number in range(3)]
            assert set(statuses) == ({202} if seconds < 0.1 else {503})
            slow.seconds = 0
            assert pushed(site, APPS[3])[0] == 202
        finally:
            slow.close()


@pytest.mark.threat(14)
@pytest.mark.parametrize("answers", range(1, 8))
def test_hang_during_push_has_a_limit(site: Installation, program: str, answers: int) -> None:
    """A connection that broke is not asked to forget what it watched: each time would be a wait more."""
    with redis(site, program, at="behind.sock"):
        slow = Slow(site.directory / "redis.sock", site.directory / "behind.sock", 0)
        try:
            for number in range(6):  # So that each process has a connection.
                assert pushed(site, APPS[1], f"before-{number}")[0] == 202
            slow.left = answers
            assert pushed(site, APPS[2])[0] in (202, 503)
            assert pushed(site, APPS[2], "d-2")[:2] == (503, UNREACHABLE)
        finally:
            slow.left = math.inf
            slow.close()
