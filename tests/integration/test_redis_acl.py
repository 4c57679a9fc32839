"""Redis' users on a real server: a whole cycle of deployments is refused nothing, and what nobody needs is refused."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ExecAbortError, NoPermissionError, ResponseError
from rq.command import send_stop_job_command

from hookd.contract import queue as names
from hookd.contract.deployment import Deployment, Status, Trigger
from hookd.store.credentials import ROLES, Role
from hookd.store.records import Records, Request
from tests.support.guarded import (
    PASSWORDS,
    GuardedInstallation,
    as_role,
    as_test,
    command_lines,
    guarded_redis,
    refusals,
    servers,
)
from tests.support.installation import app_files
from tests.support.processes import PROJECT, python, wait_for
from tests.support.raw_jobs import call, put_id, put_job

ID = "shop-20260304T050607000-0a1b2c"
HOLD = [["sh", "-c", 'while [ -e "$HOOKD_HOLD" ]; do sleep 0.1; done']]


@pytest.fixture(scope="module", params=servers(), ids=lambda path: Path(path).name)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedInstallation]:
    """A running hookd with users in its Redis, and two apps: one that can be deployed, one without a branch."""
    with GuardedInstallation(tmp_path_factory.mktemp("guarded"), request.param) as installation:
        hold = {"environment": {"HOOKD_HOLD": str(installation.directory / "hold")}, "commands": HOLD}
        installation.add_app("shop", handover="restart", build=hold).commit_and_push(app_files("one"))
        installation.add_app("broken", handover="restart")
        installation.start(workers=2)
        yield installation


@pytest.fixture(autouse=True)
def _nothing_is_refused(request: pytest.FixtureRequest) -> Iterator[None]:
    """See that Redis refused nothing in the course of a test of the whole."""
    if "site" not in request.fixturenames:
        yield
        return
    found: GuardedInstallation = request.getfixturevalue("site")
    yield
    assert refusals(found.plain_url) == []


@pytest.fixture
def held(site: GuardedInstallation) -> Iterator[Path]:
    """Deployments of the shop wait in their build until this file is gone."""
    file = site.directory / "hold"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def hookd(site: GuardedInstallation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as root does."""
    argv = python("-P", "-m", "hookd.cli", *arguments)
    return subprocess.run(argv, env=site.environment, capture_output=True, text=True, timeout=90, check=False)


def rq(site: GuardedInstallation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `rq` as a person does, with nothing but the environment file."""
    script = f'. "{site.config.settings.rq_environment}"\nexec rq "$@"'
    return subprocess.run(
        ["sh", "-ec", script, "sh", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"},
        cwd=site.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failed(site: GuardedInstallation) -> Deployment:
    """A deployment that cannot go well."""
    record = site.deploy("broken")
    assert record.status is Status.FAILED
    with as_test(site.plain_url) as client:
        wait_for(lambda: client.zscore("rq:failed:hookd", record.id) is not None, what="the failed job")
    return record


def test_a_push_is_deployed(site: GuardedInstallation) -> None:
    assert site.push_and_wait("shop").status is Status.SUCCEEDED
    assert site.serving("shop") == "one"


def test_pushes_wait_join_and_are_replaced(site: GuardedInstallation, held: Path) -> None:
    site.repositories["shop"].commit_and_push(app_files("two"))
    first = site.send_push("shop", delivery="first")
    site.wait_for_step(first["deployment"], "build")
    second, third = site.send_push("shop"), site.send_push("shop")
    assert (second["status"], third["status"]) == ("queued", "joined")
    assert third["deployment"] == second["deployment"] != first["deployment"]
    pinned = site.records.request(
        Request(app="shop", trigger=Trigger.MANUAL, seconds=60, pinned_commit=site.repositories["shop"].head())
    )
    assert site.send_push("shop", delivery="first") == {**first, "status": "duplicate"}
    held.unlink()
    assert site.wait_for_ending(first["deployment"]).status is Status.SUCCEEDED
    assert site.wait_for_ending(second["deployment"]).status is Status.SUPERSEDED
    assert site.wait_for_ending(pinned.deployment).status is Status.SUCCEEDED


def test_the_sender_s_redelivery_runs_again(site: GuardedInstallation) -> None:
    first = site.send_push("broken", after="2" * 40, delivery="again")
    assert site.wait_for_ending(first["deployment"]).status is Status.FAILED
    second = site.send_push("broken", after="2" * 40, delivery="again")
    record = site.wait_for_ending(second["deployment"])
    assert (record.trigger, record.status) == (Trigger.REDELIVERY, Status.FAILED)


def test_a_person_deploys_goes_back_and_looks(site: GuardedInstallation) -> None:
    site.ship("shop", app_files("three"))
    for arguments in (["rollback", "shop"], ["deploy", "shop"], ["status"], ["status", "shop"], ["logs", "shop"]):
        done = hookd(site, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert hookd(site, "send", "shop", "--wait").returncode == 0


def test_status_is_shown_over_http(site: GuardedInstallation) -> None:
    last = site.records.history("shop", 1)[0].id
    for path in ("/apps", "/apps/shop", f"/deployments/{last}", f"/deployments/{last}/log", "/readyz"):
        assert site.post(path, b"", {}, method="GET")[0] == 200


def test_a_failed_deployment_is_requeued_and_any_is_replayed(site: GuardedInstallation) -> None:
    old = failed(site)
    for arguments in (
        ["requeue", "--queue", "hookd", old.id],
        ["enqueue", "-q", "hookd", "worker.job.replay", old.id],
    ):
        done = rq(site, *arguments)
        assert done.returncode == 0, done.stderr

    def replays() -> list[Deployment]:
        return [record for record in site.records.history("broken", 50) if record.replay_of == old.id and record.ended]

    wait_for(lambda: len(replays()) == 2, what="the replays")


def test_queues_are_looked_at_held_emptied_and_let_go(site: GuardedInstallation) -> None:
    for arguments in (["info"], ["info", "--raw"], ["suspend"], ["empty", "hookd"], ["resume"]):
        done = rq(site, *arguments)
        assert done.returncode == 0, done.stderr


def test_a_running_deployment_is_stopped_by_a_person(site: GuardedInstallation, held: Path) -> None:
    site.repositories["shop"].commit_and_push(app_files("stopped"))
    deployment = site.send_push("shop")["deployment"]
    site.wait_for_step(deployment, "build")
    with as_role(site.plain_url, "operator") as client:
        send_stop_job_command(client, deployment, serializer="json")
    assert site.wait_for_ending(deployment).status is Status.CANCELLED


def test_a_deployment_whose_process_is_killed_ends(site: GuardedInstallation, held: Path) -> None:
    site.repositories["shop"].commit_and_push(app_files("killed"))
    deployment = site.send_push("shop")["deployment"]
    site.wait_for_step(deployment, "build")
    os.kill(site.deployer("shop"), signal.SIGKILL)
    assert site.wait_for_ending(deployment).cause == "the deploying process was killed"


def test_the_deployment_of_a_worker_that_vanished_ends_and_the_worker_is_forgotten(
    site: GuardedInstallation, held: Path
) -> None:
    site.repositories["shop"].commit_and_push(app_files("vanished"))
    deployment = site.send_push("shop")["deployment"]
    site.wait_for_step(deployment, "build")
    with as_test(site.plain_url) as client:
        name = (client.hget(f"rq:job:{deployment}", "worker_name") or b"").decode()
        os.kill(int(client.hget(f"rq:worker:{name}", "pid") or 0), signal.SIGKILL)
        _let_time_pass(client, name)
        assert site.wait_for_ending(deployment).cause == "the worker died while it ran"
        wait_for(lambda: not client.sismember("rq:workers", f"rq:worker:{name}"), 60, "the end of the worker's name")
    held.unlink()
    assert site.push_and_wait("shop").status is Status.SUCCEEDED


def _let_time_pass(client: Redis, name: str) -> None:
    """Do what a minute would do to a dead worker: its key and its execution expire, and maintenance is due."""
    client.delete(f"rq:worker:{name}")
    executions: Any = client.zrange("rq:wip:hookd", 0, -1)
    for execution in executions:
        client.zadd("rq:wip:hookd", {execution: 1})


def test_poison_is_passed_over(site: GuardedInstallation) -> None:
    with as_test(site.plain_url) as client:
        put_job(client, {"data": b"x", "status": "on fire"}, "malformed")
        put_job(client, {"data": call("os.system", "id")}, "foreign")
        put_id(client, b"\xff\xfe")
        wait_for(lambda: client.hget("rq:job:foreign", "status") == b"failed", what="the end of the foreign job")
        wait_for(lambda: not client.llen("rq:queue:hookd:intermediate"), what="an empty list of taken jobs")
    assert site.deploy("shop").status is Status.SUCCEEDED


def test_no_password_is_shown_anywhere(site: GuardedInstallation) -> None:
    failed(site)
    shown = command_lines() + "".join(file.read_text() for file in site.directory.glob("*.log"))
    logs = "".join(file.read_text() for file in (site.directory / "state" / "logs").rglob("*.log"))
    for password in PASSWORDS.values():
        assert password not in shown + logs
    holding = [path.name for path in site.directory.rglob("*") if path.is_file() and b"w%3Fr%23d" in path.read_bytes()]
    assert holding == ["rq.env"]
    assert site.config.settings.rq_environment.stat().st_mode & 0o777 == 0o600


def test_a_worker_with_a_wrong_password_says_so_and_ends(site: GuardedInstallation, tmp_path: Path) -> None:
    password = site.passwords / "worker"
    password.write_text("another")
    argv = python("-P", "-m", "worker", "stranger")
    done = subprocess.run(argv, env=site.environment, capture_output=True, text=True, timeout=60, check=False)
    password.write_text(PASSWORDS["worker"])
    assert done.returncode == 2
    assert "Redis does not let hookd-worker in" in done.stderr and "another" not in done.stderr
    assert "Traceback" not in done.stderr
    with as_test(site.plain_url) as client:
        client.acl_log_reset()  # It holds the refused log-in.


@pytest.fixture(scope="module", params=servers(), ids=lambda path: Path(path).name)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with hookd's users and something of everything in it."""
    with guarded_redis(tmp_path_factory.mktemp("redis"), request.param) as url:
        with as_test(url) as client:
            put_job(client, {"data": call(names.DEPLOY, ID)}, ID)
            client.sadd("rq:workers", "rq:worker:one")
            client.hset("rq:worker:one", "state", "busy")
            client.set(names.app_key("shop"), json.dumps({"app": "shop"}))
            client.hset(names.record_key(ID), "record", "{}")
            client.zadd(names.history_key("shop"), {ID: 1})
            client.set("hookd:other", "1")
        yield url


JOB, RECORD, QUEUE = f"rq:job:{ID}", names.record_key(ID), "rq:queue:hookd"
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
    *(["SCAN", "0"], ["RANDOMKEY"], ["DBSIZE"], ["CLIENT", "TRACKING", "on", "BCAST"]),
    *(["PUBLISH", "rq:pubsub:one", "x"], ["SUBSCRIBE", "rq:pubsub:one"]),
    # Nothing is deleted, replaced, renamed or made to expire but a record.
    *([verb, key] for verb in ("DEL", "UNLINK") for key in (JOB, RECORD, QUEUE, names.waiting_key("shop"))),
    *(["EXPIRE", key, "0"] for key in (JOB, QUEUE, names.waiting_key("shop"), "rq:rl:app-shop:allowed")),
    *(["SET", key, "x"] for key in (JOB, RECORD, QUEUE, names.app_key("shop"), "rq:suspended", "rq:worker:two")),
    *(["RENAME", JOB, "rq:job:x"], ["COPY", JOB, "rq:job:x"], ["LPOP", QUEUE], ["LREM", QUEUE, "0", ID]),
    # Nothing of others is read.
    *(["LRANGE", QUEUE, "0", "-1"], ["HGETALL", JOB], ["GET", names.app_key("shop")], ["GET", "hookd:other"]),
    *(["ZRANGE", names.history_key("shop"), "0", "-1"], ["SMEMBERS", "rq:workers"], ["HGETALL", "rq:worker:one"]),
    # Other queues, jobs that are no deployments, and workers.
    *(["RPUSH", "rq:queue:other", "x"], ["RPUSH", "rq:queue:hookd:intermediate", "x"], ["RPUSH", JOB, "x"]),
    *(["HSET", "rq:job:other", "data", "x"], ["SADD", "rq:workers", "rq:worker:two"]),
    *(["HSET", "rq:worker:one", "shutdown_requested_date", "x"], ["HSET", "rq:worker:two", "birth", "x"]),
    *(["HSET", "rq:scheduler-lock:hookd", "a", "b"], ["ZADD", "rq:wip:hookd", "1", "x"]),
    ["ZADD", "rq:failed:hookd", "1", ID],
    ["BLMOVE", QUEUE, "rq:queue:hookd:intermediate", "LEFT", "RIGHT", "1"],
]  # fmt: skip
STATUS: list[list[str]] = [
    *ADMIN,
    *SPYING,
    *(["SCAN", "0"], ["PUBLISH", "rq:pubsub:one", "x"], ["SCRIPT", "LOAD", "return 1"], ["EVALSHA", "0" * 40, "0"]),
    *(["SET", names.app_key("shop"), "x"], ["HSET", RECORD, "record", "x"], ["DEL", RECORD], ["EXPIRE", RECORD, "1"]),
    *(["ZADD", names.history_key("shop"), "1", "x"], ["RPUSH", QUEUE, ID], ["SADD", "rq:queues", "x"]),
    *(["GET", names.waiting_key("shop")], ["GET", names.delivery_key("shop", "1")], ["GET", "hookd:other"]),
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


@pytest.mark.parametrize(
    ("role", "command"), denied(), ids=lambda part: part if isinstance(part, str) else "-".join(part)
)
def test_what_a_role_does_not_need_is_refused(server: str, role: Role, command: list[str]) -> None:
    with as_role(server, role) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_the_receiver_s_scripts_can_do_no_more_than_the_receiver(server: str) -> None:
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
def test_a_transaction_is_done_whole_or_not_at_all(server: str, role: Role) -> None:
    """A user without MULTI would do the first half."""
    waiting = names.waiting_key("half")
    with as_role(server, role) as client, client.pipeline() as pipeline:
        pipeline.set(waiting, "x")
        pipeline.execute_command("FLUSHALL")
        with pytest.raises((ExecAbortError, NoPermissionError)):
            pipeline.execute()
    with as_test(server) as client:
        assert client.get(waiting) is None


@pytest.mark.parametrize("command", [["PING"], ["GET", "x"], ["INFO"], ["CONFIG", "GET", "*"], ["ACL", "WHOAMI"]])
def test_nobody_gets_nothing(server: str, command: list[str]) -> None:
    with Redis.from_url(server) as client, pytest.raises(AuthenticationError):
        client.execute_command(*command)


@pytest.mark.parametrize("role", ROLES)
def test_the_password_of_one_role_is_not_that_of_another(server: str, role: Role) -> None:
    other = next(name for name in ROLES if name != role)
    with (
        Redis.from_url(server, username=f"hookd-{role}", password=PASSWORDS[other]) as client,
        pytest.raises(AuthenticationError),
    ):
        client.ping()


def test_status_reads_what_its_pages_show(server: str) -> None:
    with as_role(server, "status") as client:
        records = Records(client, keep_seconds=60)
        assert records.find(ID) is None  # It is no record that a reader takes for one; but it may be read.
        assert records.history("shop", 20) == []
        assert records.view("shop").app == "shop"
        assert client.ping()


def test_an_operator_sees_everything_that_is_kept(server: str) -> None:
    with as_role(server, "operator") as client:
        assert client.info("persistence")["aof_enabled"] == 0
        assert ID.encode() in client.lrange(QUEUE, 0, -1)
        assert client.config_get("maxmemory-policy")
        assert client.acl_whoami() == "hookd-operator"
        assert client.keys("rq:*") and client.client_list() and client.acl_log() is not None
