"""Redis' users on a real server: no command of a whole cycle is denied, and no password is shown."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis
from rq.command import send_stop_job_command

from hookd.cli import main
from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.queue import published
from hookd.queue.deployments import DeploymentRequest
from tests.support.guarded import PASSWORDS, GuardedInstallation, as_role, as_test, command_lines, refusals, servers
from tests.support.installation import app_files
from tests.support.processes import PROJECT, python, wait_for
from tests.support.raw_jobs import call, put_id, put_job
from tests.support.signatures import gitea_headers
from tests.support.typed import hookd
from tests.support.users import as_nobody, open_directory

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
    """Check that Redis denied no command during the test."""
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
    """Run a deployment that must fail."""
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
    assert (second["status"], third["status"]) == ("queued", "coalesced")
    assert third["deployment"] == second["deployment"] != first["deployment"]
    pinned = site.records.request(
        DeploymentRequest(
            app="shop", trigger=Trigger.MANUAL, seconds=60, pinned_commit=site.repositories["shop"].head()
        )
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


def test_operator_commands(site: GuardedInstallation) -> None:
    site.ship("shop", app_files("three"))
    for arguments in (["rollback", "shop"], ["deploy", "shop"], ["status"], ["status", "shop"], ["logs", "shop"]):
        done = hookd(site, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert hookd(site, "send", "shop", "--wait").returncode == 0


def test_status_is_shown_over_http(site: GuardedInstallation) -> None:
    last = site.records.history("shop", 1)[0].id
    apps = ("/apps", "/apps/shop", "/apps/shop/decisions", "/metrics")
    for path in (*apps, f"/deployments/{last}", f"/deployments/{last}/log", "/readyz"):
        assert site.post(path, b"", {}, method="GET")[0] == 200


def test_each_delivery_is_decided_and_counted(site: GuardedInstallation) -> None:
    body = b'{"ref": "refs/heads/main"}'
    assert site.post("/hooks/shop", body, gitea_headers(body, event="ping"))[0] == 200
    assert site.post("/hooks/shop", body, gitea_headers(body))[0] == 400
    assert site.post("/hooks/shop", body, gitea_headers(body, secret="another secret of 16 bytes"))[0] == 401
    assert site.post("/hooks/nobody", body, gitea_headers(body))[0] == 401
    first = site.send_push("broken", after="3" * 40, delivery="twice")
    assert site.send_push("broken", after="3" * 40, delivery="twice") == {**first, "status": "duplicate"}
    site.wait_for_ending(first["deployment"])
    with as_role(site.plain_url, "operator") as client:
        wait_for(lambda: len(published.read_refusals(client, 10)) == 2, what="the refusals")
        assert {each.verdict for each in published.read_decisions(client, "shop", 50)} >= {Verdict.IGNORED}
        assert {each.verdict for each in published.read_decisions(client, "broken", 50)} >= {
            Verdict.QUEUED,
            Verdict.DUPLICATE,
        }
    page = site.post("/metrics", b"", {}, method="GET")[1]["text"]
    assert 'hookd_refused_signatures_total{app="-"} 1.0' in page
    assert 'hookd_deliveries_total{app="broken",verdict="duplicate"} 1.0' in page
    assert 'hookd_step_seconds_count{app="broken",step="fetch"}' in page
    assert hookd(site, "why", "shop").returncode == 0
    assert "no app is called" in hookd(site, "why", "--refused").stdout


def test_frozen_pushes_are_recorded(site: GuardedInstallation) -> None:
    assert hookd(site, "freeze", "shop", "--reason", "a test").returncode == 0
    assert site.send_push("shop")["status"] == "frozen"
    with as_role(site.plain_url, "status") as client:
        assert published.read_decisions(client, "shop", 1)[0].verdict is Verdict.FROZEN
    assert hookd(site, "thaw", "shop").returncode == 0


def test_requeue_and_replay(site: GuardedInstallation) -> None:
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


def test_rq_queue_commands(site: GuardedInstallation) -> None:
    for arguments in (["info"], ["info", "--raw"], ["suspend"], ["empty", "hookd"], ["resume"]):
        done = rq(site, *arguments)
        assert done.returncode == 0, done.stderr


def test_running_job_is_stopped(site: GuardedInstallation, held: Path) -> None:
    site.repositories["shop"].commit_and_push(app_files("stopped"))
    deployment = site.send_push("shop")["deployment"]
    site.wait_for_step(deployment, "build")
    with as_role(site.plain_url, "operator") as client:
        send_stop_job_command(client, deployment, serializer="json")
    assert site.wait_for_ending(deployment).status is Status.CANCELLED


def settled(site: GuardedInstallation, deployment: str) -> bool:
    """Return True if another deployment followed a killed one."""
    later = [record for record in site.records.history("shop", 20) if record.id > deployment]
    return bool(later) and all(record.ended and record.trigger is Trigger.RECONCILE for record in later)


def test_killed_process_gets_an_ending(site: GuardedInstallation, held: Path) -> None:
    site.repositories["shop"].commit_and_push(app_files("killed"))
    deployment = site.send_push("shop")["deployment"]
    site.wait_for_step(deployment, "build")
    os.kill(site.deployer("shop"), signal.SIGKILL)
    assert site.wait_for_ending(deployment).cause == "the deploying process was killed"
    held.unlink()
    wait_for(lambda: settled(site, deployment), 60, "the deployment that settles what it left")


def test_vanished_worker_is_deregistered(site: GuardedInstallation, held: Path) -> None:
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
    site.push_and_wait("shop")  # Unless what settles the dead one has brought the head already.
    assert site.status("shop").deployed_commit == site.repositories["shop"].head()


def _let_time_pass(client: Redis, name: str) -> None:
    """Let a dead worker's key and execution expire at once, and make maintenance due."""
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


def test_worker_with_wrong_password(site: GuardedInstallation, tmp_path: Path) -> None:
    password = site.passwords / "worker"
    password.write_text("another")
    argv = python("-P", "-m", "worker", "stranger")
    done = subprocess.run(argv, env=site.environment, capture_output=True, text=True, timeout=60, check=False)
    password.write_text(PASSWORDS["worker"])
    assert done.returncode == 2
    assert "Redis rejected the password of hookd-worker" in done.stderr and "another" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "another" not in site.config.settings.rq_environment.read_text(), "it serves the running workers"
    with as_test(site.plain_url) as client:
        client.acl_log_reset()  # It holds the refused log-in.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("arguments", [["deploy", "shop"], ["status"]])
def test_user_without_rights_gets_a_hint(arguments: list[str]) -> None:
    with open_directory() as directory, GuardedInstallation(directory) as installation:
        installation.add_app("shop")
        installation.start_redis()
        text = as_nobody(lambda: said(installation.config_path, *arguments))
        for path, mode in (("redis/redis.sock", 0o666), ("passwords", 0o711), ("passwords/status", 0o644)):
            (directory / path).chmod(mode)
        printed = as_nobody(lambda: said(installation.config_path, "status"))
    next_thing = f"sudo hookd --config {installation.config_path} {' '.join(arguments)}"
    assert text == f"2 hookd: you may not read the Redis password\n  next: {next_thing}\n"
    assert printed.startswith("0 "), "a reader of the password of `status` reads"


def said(config: Path, *arguments: str) -> str:
    """Run the command in this process, whose user may not run Python. Return its status and errors."""
    sys.argv = ["hookd", *arguments]
    result = CliRunner().invoke(main, ["--config", str(config), *arguments])
    return f"{result.exit_code} {result.stderr}"
