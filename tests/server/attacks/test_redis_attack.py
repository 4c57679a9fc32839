"""An attacker with the receiver's or an app's rights writes to a real server's Redis, without effect."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from hookd.model import redis_keys
from hookd.model.ids import app_of, new_deployment_id
from tests.support.raw_jobs import TRAP, call, put_id, put_job, status_of, superseded
from tests.support.raw_routes import CALL, JSON_ROUTES, ROUTES, UNREADABLE, UNRUNNABLE
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.web import ask, push

PYTHON: Final = "/opt/hookd/current/venv/bin/python"
SOCKET: Final = "/run/hookd-redis/redis.sock"
WORKERS: Final = ("hookd-worker@1.service", "hookd-worker@2.service")
# The worker may write there.
MARKER: Final = Path("/var/lib/hookd/marker")
# nginx logs each request.
TRAP_URL: Final = "http://127.0.0.1/trap-triggered"
LOGIN: Final = """
import sys, redis
with redis.Redis(unix_socket_path=sys.argv[1], username="hookd-receiver", password=sys.stdin.read().strip()) as one:
    print(one.ping())
"""
JUNK: Final = b"\x80\x04\xff; touch /var/lib/hookd/marker"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app, and with a module on the worker's path that leaves a trace."""
    with servers.start(shop_layer(servers)) as machine:
        place = machine.run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        machine.write(f"{place}/trap.py", TRAP)
        settings = f"{machine.read('/etc/hookd/worker.env')}TRAP_MARKER={MARKER}\n"
        machine.write("/etc/hookd/worker.env", settings, 0o600)
        machine.run("systemctl", "restart", *WORKERS)
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        yield shop


def log_in(shop: Shop, role: str) -> Redis:
    """Log in to Redis as one of hookd's users."""
    password = shop.machine.read(f"/etc/hookd/redis/{role}").strip()
    path = str(shop.machine.path(SOCKET))
    return Redis(unix_socket_path=path, username=f"hookd-{role}", password=password, socket_timeout=10)


@pytest.fixture
def attacker(shop: Shop) -> Iterator[Redis]:
    """A connection to Redis with the receiver's rights."""
    with log_in(shop, "receiver") as client:
        yield client


def new_id() -> str:
    """Return a new deployment id. The receiver's user may write no other job names."""
    return new_deployment_id("shop", datetime.now(UTC))


def forget_traces(machine: Machine) -> None:
    """Remove all traces."""
    machine.shell(f"rm -f {MARKER}; : >/var/log/nginx/access.log")


def traces(machine: Machine) -> list[str]:
    """Return the traces of code that ran."""
    requests = machine.path("/var/log/nginx/access.log").read_text()
    return [str(MARKER)] * machine.path(str(MARKER)).exists() + ["a request"] * ("trap-triggered" in requests)


def worker_starts(machine: Machine) -> str:
    """Return ids that change with each start of a worker."""
    return machine.run("systemctl", "show", "--property=InvocationID,MainPID", *WORKERS).stdout


@pytest.mark.threat(11)
def test_only_the_receiver_reaches_redis(shop: Shop) -> None:
    password = shop.machine.read("/etc/hookd/redis/receiver")
    argv = (PYTHON, "-c", LOGIN, SOCKET)
    assert shop.machine.run(*argv, user="hookd", input=password).stdout == "True\n"
    for user in ("www-data", "nobody"):
        done = shop.machine.run(*argv, user=user, input=password, check=False)
        assert done.returncode and "Permission denied" in done.stderr, "the right password was enough"
        assert shop.machine.run("cat", "/etc/hookd/redis/receiver", user=user, check=False).returncode == 1


@pytest.mark.parametrize("route", ROUTES)
def test_attack_works_on_plain_rq(shop: Shop, route: str) -> None:
    """Prove that the attack is real, or the next test would prove nothing."""
    forget_traces(shop.machine)
    password = shop.machine.read("/etc/hookd/redis/worker").strip()
    env = {"RQ_REDIS_URL": f"unix://hookd-worker:{password}@{SOCKET}?db=0", "TRAP_MARKER": str(MARKER)}
    serializer = ("-S", "json") if route in JSON_ROUTES else ()
    with log_in(shop, "worker") as client:
        fields = {"data": call("time.sleep", 0), **ROUTES[route](MARKER, TRAP_URL)}
        put_job(client, fields, queue="stock")
    argv = (PYTHON, "-P", "-m", "rq.cli", "worker", "--burst", *serializer, "stock")
    shop.machine.run(*argv, user="manager", env=env, check=False)
    assert traces(shop.machine)


@pytest.mark.threat(11)
@pytest.mark.parametrize("route", ROUTES)
def test_attack_leaves_no_trace(shop: Shop, attacker: Redis, route: str) -> None:
    forget_traces(shop.machine)
    before, files = worker_starts(shop.machine), set(shop.machine.files())
    sound = call(redis_keys.DEPLOY, superseded(attacker))
    job_id = put_job(attacker, {"data": sound, **ROUTES[route](MARKER, TRAP_URL)}, new_id())
    shop.machine.wait_until(lambda: status_of(attacker, job_id) in ("failed", "finished"), what="the job's end")
    assert traces(shop.machine) == []
    assert set(shop.machine.files()) - files == set()
    assert worker_starts(shop.machine) == before


MESSAGES: dict[str, tuple[str, ...]] = {
    "stop the worker": ("PUBLISH", "rq:pubsub:hookd-1", '{"command": "shutdown"}'),
    "kill a deployment": ("PUBLISH", "rq:pubsub:hookd-1", '{"command": "kill-horse"}'),
    "stop a job": ("PUBLISH", "rq:pubsub:hookd-1", '{"command": "stop-job", "job_id": "x"}'),
    "suspend all workers": ("SET", "rq:suspended", "1"),
    "request a stop": ("HSET", "rq:worker:hookd-1", "shutdown_requested_date", "2026-03-04T05:06:07Z"),
    "deregister a worker": ("DEL", "rq:worker:hookd-1"),
    "register a worker": ("SADD", "rq:workers", "rq:worker:x"),
    "empty the queue": ("DEL", "rq:queue:hookd"),
    "take a job away": ("LPOP", "rq:queue:hookd"),
    "hide a job": ("RENAME", "rq:queue:hookd", "rq:queue:other"),
    "repeat a job": ("ZADD", "rq:scheduled:hookd", "1", "x"),
    "write a file": ("CONFIG", "SET", "dir", "/var/lib/hookd"),
    "load a module": ("MODULE", "LOAD", "/tmp/x.so"),
    "replicate a server": ("REPLICAOF", "127.0.0.1", "6379"),
    "run a script": ("EVAL", "return 1", "0"),
    "delete everything": ("FLUSHALL",),
    "end the server": ("SHUTDOWN", "NOSAVE"),
    "disconnect the worker": ("CLIENT", "KILL", "TYPE", "normal"),
}


@pytest.mark.threat(11)
@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("role", ["receiver", "status"])
def test_command_against_the_worker_is_refused(shop: Shop, role: str, message: str) -> None:
    before = worker_starts(shop.machine)
    with log_in(shop, role) as client, pytest.raises(ResponseError, match=r"(?i)no permissions|not allowed"):
        client.execute_command(*MESSAGES[message])
    assert worker_starts(shop.machine) == before


@pytest.mark.threat(12)
def test_malformed_jobs_stop_no_worker(shop: Shop, attacker: Redis) -> None:
    before = worker_starts(shop.machine)
    for shape in (*UNREADABLE.values(), *UNRUNNABLE.values()):
        with suppress(ConnectionError):  # Redis closes the connection for very large values.
            put_job(attacker, {"data": CALL, **shape}, new_id())
    for odd in ("", "a b", "../../etc/passwd", b"\xff\xfe", "x" * 100_000, json.dumps({"job": "x"})):
        attacker.rpush(f"rq:queue:{redis_keys.QUEUE}", odd)
        put_id(attacker, new_id())
    assert shop.push("after the jobs")["status"] == "succeeded"
    assert (shop.page(), traces(shop.machine), worker_starts(shop.machine)) == ("after the jobs", [], before)


@pytest.mark.threat(12)
def test_spoilt_records_stop_no_push(shop: Shop, attacker: Redis) -> None:
    last = shop.push("before the records")["id"]
    before = worker_starts(shop.machine)
    for record in (last, new_id()):
        attacker.hset(redis_keys.record_key(record), "record", JUNK)
        attacker.hincrby(redis_keys.coalesced_key(app_of(record)), record, -(2**62))
        attacker.zadd(redis_keys.history_key("shop"), {record.encode(): "inf", JUNK: "inf"})
    attacker.set(redis_keys.waiting_key("shop"), JUNK)
    attacker.xadd(redis_keys.decisions_key("shop"), {"decision": JUNK})
    attacker.xadd(redis_keys.REFUSALS, {JUNK: JUNK})
    attacker.hset(
        redis_keys.counts_key("shop"), mapping=dict.fromkeys(("ending:succeeded", "run:count", "delivered_at"), JUNK)
    )
    assert [shop.hookd(*command) for command in (("status",), ("status", "shop"), ("why", "shop"))]
    token = {"Authorization": f"Bearer {shop.machine.read('/etc/hookd/token').strip()}"}
    pages = ("/apps", "/apps/shop", "/apps/shop/decisions", "/metrics")
    assert {ask(shop.machine, RECEIVER_DOMAIN, page, headers=token).status for page in pages} == {200}
    assert shop.push("after the records")["status"] == "succeeded"
    assert (shop.page(), traces(shop.machine), worker_starts(shop.machine)) == ("after the records", [], before)


@pytest.mark.threat(49)
def test_reconciliation_removes_a_blocking_key(shop: Shop, attacker: Redis) -> None:
    """Write a hash under another key that the receiver's pattern of keys permits."""
    before, commit = worker_starts(shop.machine), shop.commit("blocked")
    attacker.hset("rq:rl:app-shop:allowed", "no", "set")
    refused = push(shop.machine, RECEIVER_DOMAIN, "shop", shop.secret, sender="gitea", after=commit)
    assert refused.status == 503
    shop.reconcile()
    shop.machine.wait_until(lambda: shop.page() == "blocked", what="the push")
    assert shop.push("not blocked")["status"] == "succeeded"
    assert (traces(shop.machine), worker_starts(shop.machine)) == ([], before)
