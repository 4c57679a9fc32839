"""Who took over the receiver, or an app, writes to a real server's Redis: it leaves no trace, and hookd works on."""

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
# nginx writes down who asked.
TRAP_URL: Final = "http://127.0.0.1/sprang-the-trap"
LOGIN: Final = """
import sys, redis
with redis.Redis(unix_socket_path=sys.argv[1], username="hookd-receiver", password=sys.stdin.read().strip()) as one:
    print(one.ping())
"""
JUNK: Final = b"\x80\x04\xff; touch /var/lib/hookd/marker"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app, and with a module that leaves a trace where the worker imports from."""
    with servers.start(shop_layer(servers)) as machine:
        place = machine.run(PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        machine.write(f"{place}/trap.py", TRAP)
        settings = f"{machine.read('/etc/hookd/worker.env')}TRAP_MARKER={MARKER}\n"
        machine.write("/etc/hookd/worker.env", settings, 0o600)
        machine.run("systemctl", "restart", *WORKERS)
        found = Shop(machine)
        machine.wait_until(lambda: found.page() == "v1", what="the shop")
        yield found


def log_in(shop: Shop, role: str) -> Redis:
    """Log in to Redis as one of hookd's users."""
    password = shop.machine.read(f"/etc/hookd/redis/{role}").strip()
    path = str(shop.machine.path(SOCKET))
    return Redis(unix_socket_path=path, username=f"hookd-{role}", password=password, socket_timeout=10)


@pytest.fixture
def attacker(shop: Shop) -> Iterator[Redis]:
    """Redis, as somebody has it who took the receiver over."""
    with log_in(shop, "receiver") as client:
        yield client


def new_id() -> str:
    """The id of a deployment that nobody asked for; the receiver's user may write jobs of no other names."""
    return new_deployment_id("shop", datetime.now(UTC))


def forget_traces(machine: Machine) -> None:
    """Start with none."""
    machine.shell(f"rm -f {MARKER}; : >/var/log/nginx/access.log")


def traces(machine: Machine) -> list[str]:
    """What shows that something ran."""
    asked = machine.path("/var/log/nginx/access.log").read_text()
    return [str(MARKER)] * machine.path(str(MARKER)).exists() + ["a request"] * ("sprang-the-trap" in asked)


def lives(machine: Machine) -> str:
    """What is another when a worker was started again, by whomever."""
    return machine.run("systemctl", "show", "--property=InvocationID,MainPID", *WORKERS).stdout


@pytest.mark.threat(11)
def test_who_may_write_to_redis_at_all(shop: Shop) -> None:
    password = shop.machine.read("/etc/hookd/redis/receiver")
    argv = (PYTHON, "-c", LOGIN, SOCKET)
    assert shop.machine.run(*argv, user="hookd", input=password).stdout == "True\n"
    for user in ("www-data", "nobody"):
        done = shop.machine.run(*argv, user=user, input=password, check=False)
        assert done.returncode and "Permission denied" in done.stderr, "with the right password, too"
        assert shop.machine.run("cat", "/etc/hookd/redis/receiver", user=user, check=False).returncode == 1


@pytest.mark.parametrize("route", ROUTES)
def test_under_rqs_own_classes_the_route_leaves_its_trace(shop: Shop, route: str) -> None:
    """Without this, the next test could pass because the trap is laid wrong."""
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
def test_the_route_leaves_no_trace(shop: Shop, attacker: Redis, route: str) -> None:
    forget_traces(shop.machine)
    before, files = lives(shop.machine), set(shop.machine.files())
    sound = call(redis_keys.DEPLOY, superseded(attacker))
    job_id = put_job(attacker, {"data": sound, **ROUTES[route](MARKER, TRAP_URL)}, new_id())
    shop.machine.wait_until(lambda: status_of(attacker, job_id) in ("failed", "finished"), what="the job's end")
    assert traces(shop.machine) == []
    assert set(shop.machine.files()) - files == set()
    assert lives(shop.machine) == before


MESSAGES: dict[str, tuple[str, ...]] = {
    "stop the worker": ("PUBLISH", "rq:pubsub:hookd-1", '{"command": "shutdown"}'),
    "kill what it does": ("PUBLISH", "rq:pubsub:hookd-1", '{"command": "kill-horse"}'),
    "stop a job": ("PUBLISH", "rq:pubsub:hookd-1", '{"command": "stop-job", "job_id": "x"}'),
    "hold all workers": ("SET", "rq:suspended", "1"),
    "ask the worker to stop": ("HSET", "rq:worker:hookd-1", "shutdown_requested_date", "2026-03-04T05:06:07Z"),
    "make the worker forgotten": ("DEL", "rq:worker:hookd-1"),
    "enter a worker": ("SADD", "rq:workers", "rq:worker:x"),
    "empty the queue": ("DEL", "rq:queue:hookd"),
    "take a job away": ("LPOP", "rq:queue:hookd"),
    "hide a job": ("RENAME", "rq:queue:hookd", "rq:queue:other"),
    "repeat a job for ever": ("ZADD", "rq:scheduled:hookd", "1", "x"),
    "write a file elsewhere": ("CONFIG", "SET", "dir", "/var/lib/hookd"),
    "load a module": ("MODULE", "LOAD", "/tmp/x.so"),
    "follow another server": ("REPLICAOF", "127.0.0.1", "6379"),
    "run a script": ("EVAL", "return 1", "0"),
    "empty everything": ("FLUSHALL",),
    "end the server": ("SHUTDOWN", "NOSAVE"),
    "send the worker away": ("CLIENT", "KILL", "TYPE", "normal"),
}


@pytest.mark.threat(11)
@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("role", ["receiver", "status"])
def test_a_message_that_would_stop_or_lead_the_worker_is_refused(shop: Shop, role: str, message: str) -> None:
    before = lives(shop.machine)
    with log_in(shop, role) as client, pytest.raises(ResponseError, match=r"(?i)no permissions|not allowed"):
        client.execute_command(*MESSAGES[message])
    assert lives(shop.machine) == before


@pytest.mark.threat(12)
def test_jobs_that_no_worker_can_read_cost_none_and_the_next_push_is_deployed(shop: Shop, attacker: Redis) -> None:
    before = lives(shop.machine)
    for shape in (*UNREADABLE.values(), *UNRUNNABLE.values()):
        with suppress(ConnectionError):  # What is very large Redis does not take, and hangs up.
            put_job(attacker, {"data": CALL, **shape}, new_id())
    for odd in ("", "a b", "../../etc/passwd", b"\xff\xfe", "x" * 100_000, json.dumps({"job": "x"})):
        attacker.rpush(f"rq:queue:{redis_keys.QUEUE}", odd)
        put_id(attacker, new_id())
    assert shop.push("after the jobs")["status"] == "succeeded"
    assert (shop.page(), traces(shop.machine), lives(shop.machine)) == ("after the jobs", [], before)


@pytest.mark.threat(12)
def test_records_that_were_spoilt_show_as_nothing_and_the_next_push_is_deployed(shop: Shop, attacker: Redis) -> None:
    last = shop.push("before the records")["id"]
    before = lives(shop.machine)
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
    assert (shop.page(), traces(shop.machine), lives(shop.machine)) == ("after the records", [], before)


@pytest.mark.threat(49)
def test_a_key_that_keeps_pushes_out_does_so_only_until_the_next_look(shop: Shop, attacker: Redis) -> None:
    """What the receiver's user may write as a hash under one name, it may under others that begin like it."""
    before, commit = lives(shop.machine), shop.commit("kept out")
    attacker.hset("rq:rl:app-shop:allowed", "no", "set")
    refused = push(shop.machine, RECEIVER_DOMAIN, "shop", shop.secret, sender="gitea", after=commit)
    assert refused.status == 503
    shop.look()
    shop.machine.wait_until(lambda: shop.page() == "kept out", what="the push")
    assert shop.push("let in")["status"] == "succeeded"
    assert (traces(shop.machine), lives(shop.machine)) == ([], before)
