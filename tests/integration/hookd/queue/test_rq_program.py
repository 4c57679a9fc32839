"""The plain `rq` program with the environment file that the worker writes: replay, and looking without running."""

import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from hookd.model.deployment import Deployment, Status, Trigger
from hookd.queue.deployments import DeploymentRequest
from tests.support.installation import Installation, app_files
from tests.support.processes import PROJECT, wait_for
from tests.support.raw_jobs import Pickled, put_id, put_job

UNKNOWN = "shop-20260304T050607000-0a1b2c"


@pytest.fixture(scope="module")
def hookd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A whole hookd with an app that deploys and an app without its branch."""
    with Installation(tmp_path_factory.mktemp("hookd")) as installation:
        installation.add_app("shop", handover="restart").commit_and_push(app_files("one"))
        installation.add_app("broken", handover="restart")
        installation.start()
        yield installation


@pytest.fixture(scope="module")
def client(hookd: Installation) -> Iterator[Redis]:
    with Redis.from_url(hookd.redis_url, socket_timeout=5) as found:
        yield found


def rq(hookd: Installation, *arguments: str, safe: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run `rq` as a person does, in a shell with nothing but the environment file."""
    file = hookd.config.settings.rq_environment
    script = f'. "{file}"\n' if safe else f'. "{file}"\nunset RQ_JOB_CLASS RQ_QUEUE_CLASS RQ_WORKER_CLASS\n'
    return subprocess.run(
        ["sh", "-ec", f'{script}exec rq "$@"', "sh", *arguments],
        cwd=hookd.directory,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def replay_of(hookd: Installation, old: Deployment) -> Deployment:
    """Wait for the replay of a deployment and its ending."""

    def replays() -> list[Deployment]:
        return [record for record in hookd.records.history(old.app, 50) if record.replay_of == old.id]

    wait_for(replays, what=f"a replay of {old.id}")
    [found] = replays()
    return hookd.wait_for_ending(found.id)


def assert_replayed(hookd: Installation, old: Deployment, status: Status) -> None:
    """See that there is one new record with an ending of its own, and that the old one stayed as it was."""
    new = replay_of(hookd, old)
    assert (new.trigger, new.status, new.replay_of) == (Trigger.REPLAY, status, old.id)
    assert hookd.records.get(old.id) == old
    assert hookd.log_of(new) != ""


def failed(hookd: Installation) -> Deployment:
    record = hookd.deploy("broken")
    assert record.status is Status.FAILED
    return record


@pytest.mark.promise(58)
def test_environment_file_is_private(hookd: Installation) -> None:
    assert hookd.config.settings.rq_environment.stat().st_mode & 0o777 == 0o600


@pytest.mark.promise(59, 60)
def test_requeue_creates_a_record(hookd: Installation, client: Redis) -> None:
    old = failed(hookd)
    wait_for(lambda: client.zscore("rq:failed:hookd", old.id) is not None, what="the failed job")
    done = rq(hookd, "requeue", "--queue", "hookd", old.id)
    assert done.returncode == 0, done.stderr
    assert "Requeueing 1 jobs" in done.stdout
    assert_replayed(hookd, old, Status.FAILED)


@pytest.mark.promise(60)
def test_failed_deployment_is_replayed(hookd: Installation) -> None:
    old = failed(hookd)
    done = rq(hookd, "enqueue", "-q", "hookd", "worker.job.replay", old.id)
    assert done.returncode == 0, done.stderr
    assert_replayed(hookd, old, Status.FAILED)


@pytest.mark.promise(59)
def test_succeeded_deployment_is_replayed(hookd: Installation) -> None:
    old = hookd.deploy("shop")
    assert (old.status, hookd.serving("shop")) == (Status.SUCCEEDED, "one")
    done = rq(hookd, "enqueue", "-q", "hookd", "worker.job.replay", old.id)
    assert done.returncode == 0, done.stderr
    assert f"Enqueued worker.job.replay('{old.id}')" in done.stdout
    assert_replayed(hookd, old, Status.SUCCEEDED)
    assert hookd.serving("shop") == "one"


def test_replay_keeps_the_pin(hookd: Installation) -> None:
    old = hookd.deploy("broken", pinned_commit="a" * 40)
    done = rq(hookd, "enqueue", "-q", "hookd", "worker.job.replay", old.id)
    assert done.returncode == 0, done.stderr
    assert replay_of(hookd, old).pinned_commit == "a" * 40


def test_replay_of_unknown_deployment(hookd: Installation, client: Redis) -> None:
    done = rq(hookd, "enqueue", "-q", "hookd", "--job-id", "replay-unknown", "worker.job.replay", UNKNOWN)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: client.hget("rq:job:replay-unknown", "status") == b"failed", what="the end of the replay")
    log = (hookd.directory / "worker.log").read_text()
    assert f"there is no record of the deployment {UNKNOWN}" in log


def test_requeueing_an_unknown_deployment_says_so(hookd: Installation) -> None:
    done = rq(hookd, "requeue", "--queue", "hookd", UNKNOWN)
    assert done.returncode == 1
    assert f"No such job: rq:job:{UNKNOWN}" in done.stderr


@pytest.mark.parametrize(
    "call",
    [
        ("os.system", "touch marker"),
        ("worker.recovery.crashed.finish_crashed", UNKNOWN),
        ("worker.job.replay",),
        ("worker.job.replay", "no-such-id"),
        ("worker.job.replay", UNKNOWN, UNKNOWN),
        ("worker.job.deploy", "../../etc/passwd"),
    ],
)
def test_rq_enqueue_is_refused(hookd: Installation, client: Redis, call: tuple[str, ...]) -> None:
    jobs = set(client.scan_iter("rq:job:*"))
    done = rq(hookd, "enqueue", "-q", "hookd", *call)
    assert done.returncode == 1
    assert "RefusedJob" in done.stderr
    assert set(client.scan_iter("rq:job:*")) == jobs
    assert not (hookd.directory / "marker").exists()


@pytest.mark.threat(11)
@pytest.mark.promise(58)
@pytest.mark.parametrize("safe", [False, True])
def test_rq_info_runs_no_code(hookd: Installation, client: Redis, tmp_path: Path, safe: bool) -> None:
    marker = tmp_path / "marker"
    spoilt = pickle.dumps(Pickled(marker))
    fields = {"data": spoilt, "meta": spoilt, "result": spoilt, "status": "started"}
    job_id = put_job(client, fields, queue=f"elsewhere-{safe}")
    client.zadd(f"rq:wip:elsewhere-{safe}", {f"{job_id}:1": 1})
    done = rq(hookd, "info", "--raw", safe=safe)
    assert marker.exists() is not safe
    if safe:
        assert done.returncode == 0, done.stderr
        assert "queue hookd 0, 0 executing" in done.stdout
        assert "worker worker-0 " in done.stdout


def test_rq_info_survives_malformed_jobs(hookd: Installation, client: Redis) -> None:
    put_job(client, {"data": b"x", "status": "on fire"}, "malformed", queue="elsewhere")
    put_id(client, "a b", queue="elsewhere")
    client.zadd("rq:wip:elsewhere", {"malformed:1": 1})
    done = rq(hookd, "info", "--raw")
    assert done.returncode == 0, done.stderr


@pytest.mark.threat(49)
def test_rq_empty_blocks_no_app(hookd: Installation, client: Redis) -> None:
    assert rq(hookd, "suspend").returncode == 0
    assert rq(hookd, "enqueue", "-q", "hookd", "worker.job.replay", UNKNOWN).returncode == 0  # It takes one more.
    wait_for(lambda: client.hget("rq:worker:worker-0", "state") == b"suspended", what="the worker's rest")
    first = hookd.records.request(DeploymentRequest(app="broken", trigger=Trigger.MANUAL, seconds=60)).deployment
    done = rq(hookd, "empty", "hookd")
    assert "1 jobs removed from hookd queue" in done.stdout, done.stderr
    second = hookd.records.request(DeploymentRequest(app="broken", trigger=Trigger.MANUAL, seconds=60)).deployment
    assert rq(hookd, "resume").returncode == 0
    assert hookd.wait_for_ending(second).status is Status.FAILED
    assert hookd.records.get(first).status is Status.SUPERSEDED


def test_replayed_rollback_keeps_its_commit(hookd: Installation) -> None:
    hookd.ship("shop", app_files("before"))
    hookd.ship("shop", app_files("after"))
    rolled = hookd.deploy("shop", Trigger.ROLLBACK)
    hookd.deploy("shop")
    done = rq(hookd, "enqueue", "-q", "hookd", "worker.job.replay", rolled.id)
    assert done.returncode == 0, done.stderr
    again = replay_of(hookd, rolled)
    assert (again.trigger, again.commit, again.status) == (Trigger.REPLAY, rolled.commit, Status.SUCCEEDED)
    assert hookd.serving("shop") == "before"
