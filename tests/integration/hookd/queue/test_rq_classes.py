"""Nothing that stands in Redis decides which code runs: every known way to make RQ run something leaves no trace."""

import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from hookd.model import redis_keys
from hookd.queue.rq_classes import RefusedJob, SafeJob, SafeQueue
from tests.support.processes import python, running
from tests.support.raw_jobs import Site, call, put_job, site_with_trap, status_of
from tests.support.raw_routes import CALLS, JSON_ROUTES, ROUTES, UNKNOWN


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_with_trap(tmp_path_factory.mktemp("site")) as found:
        yield found


@contextmanager
def web_server(marker: Path) -> Iterator[str]:
    """Run a web server that leaves a trace of each request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            marker.touch()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.threat(11)
@pytest.mark.parametrize("route", ROUTES)
def test_attack_works_on_plain_rq(site: Site, tmp_path: Path, route: str) -> None:
    """Without this, the next test could pass because the attack is wrong."""
    marker = tmp_path / "marker"
    serializer = ["-S", "json"] if route in JSON_ROUTES else []
    sound = call("time.sleep", 0) if serializer else pickle.dumps(("time.sleep", None, (0,), {}))
    env = {**site.installation.environment, "TRAP_MARKER": str(marker), "RQ_REDIS_URL": site.installation.redis_url}
    with web_server(marker) as url:
        put_job(site.client, {"data": sound, **ROUTES[route](marker, url)}, queue="stock")
        argv = python("-m", "rq.cli", "worker", "--burst", *serializer, "stock")
        with running(argv, tmp_path / "log", env, cwd=tmp_path) as process:
            process.wait(30)
    assert marker.exists()


@pytest.mark.threat(11)
@pytest.mark.parametrize("route", ROUTES)
def test_the_route_leaves_no_trace(site: Site, route: str) -> None:
    with web_server(site.marker) as url:
        sound = call(redis_keys.DEPLOY, site.superseded())
        job_id = put_job(site.client, {"data": sound, **ROUTES[route](site.marker, url)})
        site.assert_nothing_ran()
    assert status_of(site.client, job_id) == ("failed" if "data" in ROUTES[route](site.marker, "") else "finished")


@pytest.mark.parametrize("callback", ["failure_callback_name", "webhooks"])
def test_a_deployment_that_fails_calls_nobody(site: Site, callback: str) -> None:
    with web_server(site.marker) as url:
        value = "trap.run" if callback != "webhooks" else json.dumps([{"url": url, "job_status": "failed"}])
        job_id = put_job(site.client, {"data": call(redis_keys.DEPLOY, UNKNOWN), callback: value})
        site.assert_nothing_ran()
    assert status_of(site.client, job_id) == "failed"


@pytest.mark.threat(11)
@pytest.mark.parametrize("wrong", CALLS)
def test_unknown_call_is_refused(site: Site, wrong: str) -> None:
    job_id = put_job(site.client, {"data": CALLS[wrong]})
    site.assert_nothing_ran()
    assert status_of(site.client, job_id) == "failed"
    job = SafeJob.fetch(job_id, connection=site.client)
    with pytest.raises(RefusedJob):
        _ = job.args


def test_repeating_job_runs_once(site: Site) -> None:
    again = {"retries_left": 3, "retry_intervals": "[0]", "repeats_left": 3, "repeat_intervals": "[0]"}
    fails = put_job(site.client, {"data": call(redis_keys.DEPLOY, UNKNOWN), **again})
    works = put_job(site.client, {"data": call(redis_keys.DEPLOY, site.superseded()), **again})
    site.assert_nothing_ran()
    assert [status_of(site.client, job_id) for job_id in (fails, works)] == ["failed", "finished"]
    assert [site.client.xlen(f"rq:results:{job_id}") for job_id in (fails, works)] == [1, 1]


@pytest.mark.threat(35)
def test_description_forges_no_log_line(site: Site) -> None:
    text = "deploy\nERROR the server is on fire\x1b[2J\u2028"
    job_id = put_job(site.client, {"data": call(redis_keys.DEPLOY, site.superseded()), "description": text})
    site.assert_nothing_ran()
    assert SafeJob.fetch(job_id, connection=site.client).description == (
        r"deploy\nERROR the server is on fire\x1b[2J\u2028"
    )
    lines = (site.installation.directory / "worker.log").read_text().splitlines()
    assert not [line for line in lines if line.startswith("ERROR the server")]


@pytest.mark.parametrize(
    "function", ["os.system", "trap.run", "worker.recovery.crashed.finish_crashed", "worker.job.deploy\n", print]
)
def test_queue_takes_listed_functions_only(site: Site, function: Any) -> None:
    queue = SafeQueue("elsewhere", connection=site.client)
    with pytest.raises(RefusedJob):
        queue.enqueue(function, UNKNOWN)
    assert queue.count == 0
    assert not site.marker.exists()


def test_queue_keeps_no_callbacks(site: Site) -> None:
    queue = SafeQueue("elsewhere", connection=site.client)
    job = queue.enqueue(redis_keys.DEPLOY, UNKNOWN, job_id="own")
    assert [job.success_callback, job.failure_callback, job.stopped_callback] == [None, None, None]
    assert (job.serializer, job.webhooks) == (JSONSerializer, [])
    queue.delete()


def test_queue_forces_safe_classes(site: Site) -> None:
    from rq.job import Job
    from rq.serializers import PickleSerializer

    queue = SafeQueue("elsewhere", connection=site.client, job_class=Job, serializer=PickleSerializer)
    assert (queue.job_class, queue.serializer) == (SafeJob, JSONSerializer)
    assert SafeJob(connection=site.client, serializer=PickleSerializer).serializer is JSONSerializer


def test_only_workers_have_functions(site: Site) -> None:
    client: Redis = site.client
    job = SafeQueue("elsewhere", connection=client).create_job(redis_keys.DEPLOY, (UNKNOWN,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SafeJob, "functions", {})
        with pytest.raises(RefusedJob, match="names a function that is not allowed"):
            _ = job.func


def test_refusals_end_no_worker(site: Site) -> None:
    site.assert_a_good_job_finishes()
    assert "unhandled exception, quitting" not in (site.installation.directory / "worker.log").read_text()
