"""Malformed jobs: the same worker skips each and runs the next good one."""

import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from rq.exceptions import NoSuchJobError, StopRequested
from rq.job import Job
from rq.registry import FinishedJobRegistry

from hookd.model import redis_keys
from hookd.queue.rq_classes import SafeJob
from tests.support.abandoned import maintain
from tests.support.processes import wait_for
from tests.support.raw_jobs import Site, call, put_id, put_job, site_with_trap, status_of
from tests.support.raw_routes import CALL, FAR, UNREADABLE, UNRUNNABLE
from worker.rq_worker import SafeWorker


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    UNREADABLE["a call that unpacks to 200 megabytes"] = {"data": zlib.compress(bytes(200_000_000), 1)}
    with site_with_trap(tmp_path_factory.mktemp("site")) as found:
        found.client.set("rq:rl:wrong:allowed", "no set")
        yield found


def in_hands(client: Redis) -> list[Any]:
    """Return the queue and the jobs that a worker has taken."""
    return [client.lrange(key, 0, -1) for key in ("rq:queue:hookd", "rq:queue:hookd:intermediate")]


def seconds_left(client: Redis, key: str) -> int:
    """Return the lifetime of a key, negative if it has no end or does not exist."""
    left: Any = client.ttl(key)
    return int(left)


@pytest.mark.threat(12)
@pytest.mark.parametrize("shape", UNREADABLE)
def test_malformed_hash_is_skipped(site: Site, shape: str) -> None:
    job_id = put_job(site.client, {"data": CALL, **UNREADABLE[shape]})
    site.assert_a_good_job_finishes()
    assert in_hands(site.client) == [[], []]
    assert status_of(site.client, job_id) is None, "it says for ever that it is queued"


@pytest.mark.parametrize("shape", UNREADABLE)
def test_malformed_hash_is_no_job(site: Site, shape: str) -> None:
    site.client.hset("rq:job:poison", mapping={"data": CALL, **UNREADABLE[shape]})
    with pytest.raises(NoSuchJobError):
        SafeJob.fetch("poison", connection=site.client)
    site.client.delete("rq:job:poison")


@pytest.mark.parametrize("shape", UNRUNNABLE)
def test_job_that_cannot_run_fails(site: Site, shape: str) -> None:
    job_id = put_job(site.client, UNRUNNABLE[shape])
    site.assert_a_good_job_finishes()
    assert status_of(site.client, job_id) == "failed"
    assert in_hands(site.client) == [[], []]
    assert site.client.zscore("rq:failed:hookd", job_id) is not None
    assert site.client.zcard("rq:wip:hookd") == 0
    assert seconds_left(site.client, SafeJob.key_for(job_id)) > 0, "it stays for ever"


def test_excessive_result_ttl_is_limited(site: Site) -> None:
    data = call(redis_keys.DEPLOY, site.superseded())
    job_id = put_job(site.client, {"data": data, "result_ttl": FAR})
    site.assert_a_good_job_finishes()
    assert status_of(site.client, job_id) == "finished"
    assert seconds_left(site.client, SafeJob.key_for(job_id)) > 0, "it stays for ever"


@pytest.mark.threat(12)
def test_compression_bomb_is_not_unpacked(site: Site) -> None:
    site.client.hset("rq:job:bomb", mapping=UNREADABLE["a call that unpacks to 200 megabytes"])
    tracemalloc.start()
    try:
        with pytest.raises(NoSuchJobError):
            SafeJob.fetch("bomb", connection=site.client)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        site.client.delete("rq:job:bomb")
    assert most < 100_000_000


# Ids that lead to no job's hash.
IDS: dict[str, str | bytes] = {
    "of a hash that is missing": "missing",
    "of a hash without a call": "empty",
    "with blanks": "a b c",
    "with line ends": "a\nERROR b",
    "with a colon in front": ":x",
    "that is empty": "",
    "that is no UTF-8": b"\xff\xfe",
    "that starts well and ends as no UTF-8": b"shop-2026\xff",
    "with a null": b"a\x00b",
    "that is a megabyte": "x" * 1_000_000,
    "that is a path": "../../rq:job:x",
    "that is JSON": json.dumps({"job": "x"}),
}


@pytest.mark.parametrize("shape", IDS)
def test_id_without_a_job_is_skipped(site: Site, shape: str) -> None:
    site.client.hset("rq:job:empty", "status", "queued")
    site.client.hset("rq:job:a b c", "data", CALL)
    put_id(site.client, IDS[shape])
    site.assert_a_good_job_finishes()
    assert in_hands(site.client) == [[], []]


@pytest.mark.threat(12)
def test_a_hundred_malformed_jobs(site: Site) -> None:
    small = [shape for shape in (*UNREADABLE.values(), *UNRUNNABLE.values()) if len(str(shape)) < 500]
    for number in range(50):
        put_job(site.client, {"data": CALL, **small[number % len(small)]})
        put_id(site.client, b"\xff" + bytes([number]))
    site.assert_a_good_job_finishes()
    assert in_hands(site.client) == [[], []]


def test_skipped_job_is_one_log_line(site: Site) -> None:
    put_id(site.client, "forged\nERROR the server is on fire")
    site.assert_a_good_job_finishes()
    text = (site.installation.directory / "worker.log").read_text()
    assert r"no job, skipped job=forged\nERROR the server is on fire" in text
    assert "\nERROR the server is on fire" not in text


# Bad entries that maintenance reads.
REGISTRIES: dict[str, Callable[[Redis], object]] = {
    "a started job that is no UTF-8": lambda client: client.zadd("rq:wip:hookd", {b"\xff": 1}),
    "a started job without an execution": lambda client: client.zadd("rq:wip:hookd", {"x": 1}),
    "a started job whose hash is bad": lambda client: (
        client.hset("rq:job:bad", mapping={"data": CALL, "status": "on fire"}),
        client.zadd("rq:wip:hookd", {"bad:1": 1}),
    ),
    "a job in somebody's hands that is no UTF-8": lambda client: client.rpush("rq:queue:hookd:intermediate", b"\xff"),
    "a job in somebody's hands with blanks": lambda client: client.rpush("rq:queue:hookd:intermediate", "a b"),
    "a ready job that is no UTF-8": lambda client: client.zadd("rq:ready:hookd", {b"\xff": 1}),
    "a limit that is no number": lambda client: (
        client.sadd("rq:rl-keys", "app-blog"),
        client.hset("rq:rl:app-blog", "concurrency", "many"),
    ),
    "a limit whose name is no UTF-8": lambda client: client.sadd("rq:rl-keys", b"\xff"),
    "a worker whose name is no UTF-8": lambda client: client.sadd("rq:workers:hookd", b"\xff"),
    "a group whose name is no UTF-8": lambda client: client.sadd("rq:groups", b"\xff"),
}


@pytest.fixture
def registries(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """The Redis, from which bad entries are removed after the test."""
    monkeypatch.setenv("HOOKD_CONFIG", str(site.installation.config_path))
    yield site.client
    site.client.delete("rq:wip:hookd", "rq:failed:hookd", "rq:ready:hookd", "rq:rl-keys", "rq:groups")
    site.client.srem("rq:workers:hookd", b"\xff")
    site.client.delete("rq:queue:hookd:intermediate")


@pytest.mark.threat(12)
@pytest.mark.parametrize("shape", REGISTRIES)
def test_bad_registry_stops_no_maintenance(registries: Redis, shape: str) -> None:
    REGISTRIES[shape](registries)
    registries.delete("rq:clean_registries:hookd")
    maintain(registries)
    assert not registries.exists("rq:clean_registries:hookd"), "no worker cleans up for 15 minutes"


@pytest.mark.threat(12)
def test_worker_starts_with_bad_registries(site: Site, registries: Redis) -> None:
    for add in REGISTRIES.values():
        add(registries)
    second = site.installation.start_worker("second")
    wait_for(lambda: registries.hget("rq:worker:second", "state") == b"idle" or second.poll() is not None, what="work")
    assert second.poll() is None
    site.assert_a_good_job_finishes()
    second.terminate()
    second.wait(10)


def test_stop_during_cleanup_frees_the_lock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_request(*_: object) -> None:
        assert site.client.exists("rq:clean_registries:elsewhere")
        raise StopRequested

    monkeypatch.setattr(FinishedJobRegistry, "cleanup", stop_request)
    worker = SafeWorker("elsewhere", connection=site.client, prepare_for_work=False)
    with pytest.raises(StopRequested):
        worker.run_maintenance_tasks()
    assert not site.client.exists("rq:clean_registries:elsewhere")


def test_stop_while_a_job_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_request(*_: object) -> None:
        raise StopRequested

    site.client.hset("rq:job:sound", mapping={"data": CALL, "status": "queued"})
    monkeypatch.setattr(Job, "restore", stop_request)
    with pytest.raises(StopRequested):
        SafeJob.fetch("sound", connection=site.client)
