"""Redis' users on a real server: denied commands of each role, and of a client without log-in."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ExecAbortError, NoPermissionError, ResponseError

from hookd.cli.programs import is_redis_up
from hookd.credentials import ROLES, Role
from hookd.model import redis_keys as names
from hookd.model.decision import Verdict
from hookd.queue import counters, published
from hookd.queue.deployments import DeploymentStore
from hookd.queue.published import read_status, read_statuses
from tests.support.deployments import ask, fingerprint_of
from tests.support.guarded import PASSWORDS, GuardedInstallation, as_role, as_test, guarded_redis, servers
from tests.support.processes import python
from tests.support.raw_jobs import call, put_job

ID = "shop-20260304T050607000-0a1b2c"


@pytest.fixture(scope="module", params=servers(), ids=lambda path: Path(path).name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with hookd's users and something of everything in it."""
    with guarded_redis(tmp_path_factory.mktemp("redis"), request.param) as url:
        with as_test(url) as client:
            put_job(client, {"data": call(names.DEPLOY, ID)}, ID)
            client.sadd("rq:workers", "rq:worker:one")
            client.hset("rq:worker:one", "state", "busy")
            client.set(names.app_status_key("shop"), json.dumps({"app": "shop"}))
            client.hset(names.record_key(ID), "record", "{}")
            client.zadd(names.history_key("shop"), {ID: 1})
            client.set("hookd:other", "1")
        yield url


JOB, RECORD, QUEUE = f"rq:job:{ID}", names.record_key(ID), "rq:queue:hookd"
DECISIONS, COUNTS = names.decisions_key("shop"), names.counts_key("shop")
# Values that a captured receiver could write: an id, and the place of a push.
BLOG = ID.replace("shop", "blog").encode()
PLACE = fingerprint_of("d").encode() + b" " + BLOG
POISON = [b"x", b"", b"\xff\xfe", b"shop", BLOG + b"\n", PLACE, PLACE + b" -1", PLACE + b" 0", PLACE + b" 0 0"]
POLLED = names.polled_key("shop")
ADMIN = [
    *(["FLUSHALL"], ["FLUSHDB"], ["SHUTDOWN", "NOSAVE"], ["CONFIG", "SET", "maxmemory", "1"]),
    *(["MODULE", "LIST"], ["ACL", "LIST"], ["ACL", "SETUSER", "x", "on"], ["REPLICAOF", "NO", "ONE"], ["MONITOR"]),
    *(["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "PAUSE", "1"], ["SAVE"], ["SWAPDB", "0", "1"]),
    *(["MIGRATE", "", "1", QUEUE, "0", "1"], ["RESTORE", "rq:x", "0", "x"], ["BGREWRITEAOF"]),
]
SPYING = [["CONFIG", "GET", "*"], ["KEYS", "*"], ["EVAL", "return 1", "0"], ["FUNCTION", "LIST"], ["CLIENT", "LIST"]]
RECEIVER: list[list[str]] = [
    *ADMIN,
    *SPYING,
    *(["INFO"], ["SCAN", "0"], ["RANDOMKEY"], ["DBSIZE"], ["CLIENT", "TRACKING", "on", "BCAST"]),
    *(["PUBLISH", "rq:pubsub:one", "x"], ["SUBSCRIBE", "rq:pubsub:one"]),
    # Nothing is deleted, replaced, renamed or made to expire but a record.
    *([verb, key] for verb in ("DEL", "UNLINK") for key in (JOB, RECORD, QUEUE, names.waiting_key("shop"))),
    *(["EXPIRE", key, "0"] for key in (JOB, QUEUE, names.waiting_key("shop"), "rq:rl:app-shop:allowed")),
    *(["SET", key, "x"] for key in (JOB, RECORD, QUEUE, names.app_status_key("shop"), "rq:suspended", "rq:worker:two")),
    *(["RENAME", JOB, "rq:job:x"], ["COPY", JOB, "rq:job:x"], ["LPOP", QUEUE], ["LREM", QUEUE, "0", ID]),
    # Nothing of others is read.
    *(["LRANGE", QUEUE, "0", "-1"], ["HGETALL", JOB], ["GET", names.app_status_key("shop")], ["GET", "hookd:other"]),
    *(["ZRANGE", names.history_key("shop"), "0", "-1"], ["SMEMBERS", "rq:workers"], ["HGETALL", "rq:worker:one"]),
    # Other queues, jobs that are no deployments, and workers.
    *(["RPUSH", "rq:queue:other", "x"], ["RPUSH", "rq:queue:hookd:intermediate", "x"], ["RPUSH", JOB, "x"]),
    *(["HSET", "rq:job:other", "data", "x"], ["SADD", "rq:workers", "rq:worker:two"]),
    *(["HSET", "rq:worker:one", "shutdown_requested_date", "x"], ["HSET", "rq:worker:two", "birth", "x"]),
    *(["HSET", "rq:scheduler-lock:hookd", "a", "b"], ["ZADD", "rq:wip:hookd", "1", "x"]),
    # What was decided and counted is added to, and neither read nor taken back.
    *([verb, key, "+", "-"] for verb in ("XREVRANGE", "XRANGE") for key in (DECISIONS, names.REFUSALS)),
    *(["XDEL", DECISIONS, "0-1"], ["XTRIM", DECISIONS, "MAXLEN", "0"], ["DEL", names.REFUSALS], ["DEL", COUNTS]),
    *(["HGETALL", COUNTS], ["HGET", COUNTS, "refused"], ["HDEL", COUNTS, "refused"], ["EXPIRE", COUNTS, "0"]),
    *(["HDEL", names.coalesced_key("shop"), ID], ["DEL", names.coalesced_key("shop")]),
    # The next poll can be hastened, and not put off.
    *(["HDEL", RECORD, "record"], ["HDEL", JOB, "data"], ["DEL", POLLED]),
    *(["HGET", POLLED, "at"], ["HSET", POLLED, "at", "1"], ["EXPIRE", POLLED, "9"]),
    ["HINCRBY", RECORD, "record", "1"],
    *(["XADD", key, "*", "decision", "x"] for key in (RECORD, QUEUE, COUNTS, "hookd:other", POLLED)),
    ["ZADD", "rq:failed:hookd", "1", ID],
    ["BLMOVE", QUEUE, "rq:queue:hookd:intermediate", "LEFT", "RIGHT", "1"],
]  # fmt: skip
STATUS: list[list[str]] = [
    *ADMIN,
    *SPYING,
    *(["SCAN", "0"], ["PUBLISH", "rq:pubsub:one", "x"], ["SCRIPT", "LOAD", "return 1"], ["EVALSHA", "0" * 40, "0"]),
    *(["SET", names.app_status_key("shop"), "x"], ["HSET", RECORD, "record", "x"], ["DEL", RECORD]),
    ["EXPIRE", RECORD, "1"],
    *(["ZADD", names.history_key("shop"), "1", "x"], ["RPUSH", QUEUE, ID], ["SADD", "rq:queues", "x"]),
    *(["GET", names.waiting_key("shop")], ["GET", names.push_key("shop", "1")], ["GET", "hookd:other"]),
    # Which check a refused signature failed is the operator's to know; nothing is written.
    *(["XREVRANGE", names.REFUSALS, "+", "-"], ["XRANGE", names.REFUSALS, "-", "+"], ["XLEN", names.REFUSALS]),
    *(["XADD", DECISIONS, "*", "decision", "x"], ["XADD", names.REFUSALS, "*", "decision", "x"]),
    *(["HINCRBY", COUNTS, "refused", "1"], ["HSET", COUNTS, "refused", "1"], ["MGET", names.push_key("shop", "1")]),
    ["HGETALL", JOB],
]  # fmt: skip
WORKER: list[list[str]] = [
    *ADMIN,
    *SPYING,
    *(["SET", "other", "x"], ["GET", "other"], ["PUBLISH", "other", "x"], ["RENAME", JOB, "other"], ["SORT", QUEUE]),
]
OPERATOR = ADMIN


def denied() -> list[tuple[Role, list[str]]]:
    every: dict[Role, list[list[str]]] = {
        "receiver": RECEIVER,
        "status": STATUS,
        "worker": WORKER,
        "operator": OPERATOR,
    }
    return [(role, command) for role, commands in every.items() for command in commands]


@pytest.mark.threat(11)
@pytest.mark.parametrize(
    ("role", "command"), denied(), ids=lambda part: part if isinstance(part, str) else "-".join(part)
)
def test_denied_commands(server: str, role: Role, command: list[str]) -> None:
    with as_role(server, role) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_scripts_have_the_receivers_rights(server: str) -> None:
    keys = ["rq:rl:app-shop:allowed", "rq:rl:app-shop:rate_limited"]
    with as_role(server, "receiver") as client:
        for script in (
            f"redis.call('SET', '{QUEUE}', 'x')",
            "redis.call('FLUSHALL')",
            f"return redis.call('DEL', '{JOB}')",
        ):
            sha: Any = client.script_load(script)
            with pytest.raises(ResponseError, match=r"ACL failure|no permissions|can't (run|access)"):
                client.evalsha(sha, 2, *keys)
    with as_test(server) as client:
        assert client.lrange(QUEUE, 0, -1) == [ID.encode()]


@pytest.mark.parametrize("role", ["receiver", "worker", "operator"])
def test_transaction_is_atomic(server: str, role: Role) -> None:
    """A user without MULTI would do the first half."""
    waiting = names.waiting_key("half")
    with as_role(server, role) as client, client.pipeline() as pipeline:
        pipeline.set(waiting, "x")
        pipeline.execute_command("FLUSHALL")
        with pytest.raises((ExecAbortError, NoPermissionError)):
            pipeline.execute()
    with as_test(server) as client:
        assert client.get(waiting) is None


@pytest.mark.threat(58)
@pytest.mark.parametrize("poison", POISON)
def test_next_push_replaces_a_poisoned_key(server: str, poison: bytes) -> None:
    """A captured receiver may write these two keys. They name records that its own user may not read."""
    fingerprint = fingerprint_of("d")
    keys = [names.waiting_key("blog"), names.push_key("blog", fingerprint)]
    with as_role(server, "receiver") as client:
        for key in keys:
            client.set(key, poison)
        answer = ask(DeploymentStore(client, keep_seconds=60), app="blog", push="d")
        values = [answer.deployment, f"{fingerprint} {answer.deployment} 0"]
        assert (answer.verdict, client.mget(keys)) == (Verdict.QUEUED, [value.encode() for value in values])


@pytest.mark.threat(25)
@pytest.mark.parametrize("command", [["PING"], ["GET", "x"], ["INFO"], ["CONFIG", "GET", "*"], ["ACL", "WHOAMI"]])
def test_nobody_gets_nothing(server: str, command: list[str]) -> None:
    with Redis.from_url(server) as client, pytest.raises(AuthenticationError):
        client.execute_command(*command)


@pytest.mark.parametrize("role", ROLES)
def test_passwords_differ_by_role(server: str, role: Role) -> None:
    other = next(name for name in ROLES if name != role)
    with (
        Redis.from_url(server, username=f"hookd-{role}", password=PASSWORDS[other]) as client,
        pytest.raises(AuthenticationError),
    ):
        client.ping()


def test_redis_with_password_is_found(server: str) -> None:
    assert is_redis_up(server)
    assert not is_redis_up("unix:///nowhere/redis.sock")


def test_no_embedded_server_with_passwords(tmp_path: Path) -> None:
    installation = GuardedInstallation(tmp_path, settings={"redis": {"passwords": tmp_path}})
    installation.write_config()
    argv = python("-P", "-m", "hookd.cli", "redis")
    done = subprocess.run(argv, env=installation.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "redis.passwords is set, but the embedded server has no passwords" in done.stderr


def test_status_reads_what_its_pages_show(server: str) -> None:
    with as_role(server, "status") as client:
        records = DeploymentStore(client, keep_seconds=60)
        assert records.find(ID) is None  # It is no record that a reader takes for one; but it may be read.
        assert records.history("shop", 20) == []
        assert read_status(records.connection, "shop").app == "shop"
        assert read_statuses(records.connection, ["shop", "blog"])[0].app == "shop"
        assert records.waiting_ids(["shop", "nobody"]) == [None, None]
        assert published.read_decisions(client, "shop", 10) == []
        assert [found.refused for found in counters.read_counters(client, ["shop", counters.NO_APP])] == [0, 0]
        assert client.ping()


def test_operator_reads_everything(server: str) -> None:
    with as_role(server, "operator") as client:
        assert client.info("persistence")["aof_enabled"] == 0
        assert ID.encode() in client.lrange(QUEUE, 0, -1)
        assert client.config_get("maxmemory-policy")
        assert client.acl_whoami() == "hookd-operator"
        assert client.keys("rq:*") and client.client_list() and client.acl_log() is not None
