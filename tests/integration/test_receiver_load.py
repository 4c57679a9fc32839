"""Floods: ten thousand pushes, slow clients, large bodies, a thousand apps; counts and memory are bounded."""

import http.client
import select
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from hookd.contract.deployment import Status
from hookd.contract.view import AppView
from tests.support.installation import SECRET, Installation, app_files, toml
from tests.support.nginx import Sites
from tests.support.processes import python, running, wait_for
from tests.support.receiver import FORM, JSON, headers_of, push_body
from tests.support.rendered import HOST

PUSHES = 10_000
SENDERS = 16
SLOW_CLIENTS = 300
APPS = 1000
MOST = 25 * 1024 * 1024
# Each process; facts/threats-and-faults.md. Without any load one has about 55.
MOST_MB = 100
MOST_MB_OF_MANY = 150
HOLD = [["sh", "-c", 'while [ -e "$HOOKD_HOLD" ]; do sleep 0.1; done']]


def processes(site: Installation, word: str) -> list[Path]:
    """Find this installation's processes below /proc whose command line holds a word."""
    setting = f"HOOKD_CONFIG={site.config_path}".encode()
    found = [each for each in Path("/proc").glob("[0-9]*") if setting in _read(each / "environ").split(b"\0")]
    return [each for each in found if word.encode() in _read(each / "cmdline").split(b"\0")]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # It has just ended.
        return b""


def peak_mb(process: Path) -> float:
    """The most memory that a process ever held."""
    status = (process / "status").read_text()
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))


def peaks(site: Installation) -> list[float]:
    """The same of each process of the receiver."""
    found = [peak_mb(process) for process in processes(site, "serve")]
    assert found
    return found


def send(site: Installation, app: str, numbers: range) -> Counter[int]:
    """Send pushes one after the other, each a delivery of its own; returns how they were answered."""
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    body = push_body(app)
    for number in numbers:
        try:
            connection.request("POST", f"/hooks/{app}", body, headers_of("gitea", body, delivery=f"d-{number}"))
            response = connection.getresponse()
            response.read()
            statuses[response.status] += 1
        except (http.client.HTTPException, ConnectionError):  # A kept connection whose time was over.
            connection.close()
            statuses[0] += 1
    connection.close()
    return statuses


def burst(site: Installation, app: str) -> Counter[int]:
    """Send all pushes from many senders at once."""
    share = PUSHES // SENDERS
    with ThreadPoolExecutor(SENDERS) as pool:
        shares = [range(number * share, (number + 1) * share) for number in range(SENDERS)]
        return sum(pool.map(lambda numbers: send(site, app, numbers), shares), Counter[int]())


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Installation]:
    """A receiver and its Redis, with one app."""
    with Installation(tmp_path) as site:
        site.add_app("shop")
        site.start_redis()
        site.start_receiver()
        yield site


def test_of_ten_thousand_pushes_at_once_two_deployments_are_made(tmp_path: Path) -> None:
    with Installation(tmp_path) as site:
        hold = tmp_path / "hold"
        build = {"environment": {"HOOKD_HOLD": str(hold)}, "commands": HOLD}
        site.add_app("shop", handover="restart", build=build).commit_and_push(app_files("one"))
        site.start()
        hold.touch()
        statuses = burst(site, "shop")
        hold.unlink()
        wait_for(lambda: all(record.ended for record in site.records.history("shop", 100)), 60, "the endings")
        second, first = site.records.history("shop", 100)
        assert set(statuses) <= {202, 503} and statuses[202] > PUSHES / 2
        assert (first.status, second.status) == (Status.SUCCEEDED, Status.UNCHANGED)
        assert first.joined + second.joined == statuses[202] - 2
        assert site.serving("shop") == "one"
        assert max(peaks(site)) < MOST_MB
        assert "Traceback" not in (tmp_path / "receiver.log").read_text() + (tmp_path / "worker.log").read_text()


SLOW = b"POST /hooks/shop HTTP/1.1\r\nHost: deploy.example.org\r\nContent-Length: 100\r\n\r\nabc"


def slow_client(port: int, number: int) -> socket.socket:
    """Connect from one of ten addresses, and send three of a hundred bytes."""
    sender = socket.create_connection(("127.0.0.1", port), 30, source_address=(f"127.0.0.{2 + number % 10}", 0))
    sender.sendall(SLOW)
    return sender


def is_held(sender: socket.socket) -> bool:
    """Tell whether a client still waits: no answer has come, and no end."""
    return not select.select([sender], [], [], 0)[0]


def test_pushes_are_answered_beside_three_hundred_slow_clients() -> None:
    """As on a server, behind nginx; the receiver alone has no more than its threads, and lets go after 5 s."""
    with (
        tempfile.TemporaryDirectory(prefix="load-") as directory,
        Installation(Path(directory), {"receiver": {"bind": f"unix:{directory}/hookd/receiver.sock"}}) as site,
    ):
        (site.directory / "hookd").mkdir()
        site.add_app("shop")
        site.start_redis()
        sites = Sites(site.directory)
        sites.write(HOST)
        argv = python("-m", "hookd.cli", "serve")
        with running(argv, site.directory / "receiver.log", site.environment), sites.served():
            wait_for((site.directory / "hookd" / "receiver.sock").exists, what="the receiver")
            clients = [slow_client(sites.port, number) for number in range(SLOW_CLIENTS)]
            body = push_body("shop")
            for number in range(30):
                headers = headers_of("gitea", body, delivery=f"d-{number}")
                assert sites.ask("POST", "/hooks/shop", "deploy.example.org", headers, body)[0] == 202
            assert sum(map(is_held, clients)) == SLOW_CLIENTS, "they were there all the while"
            assert max(peaks(site)) < MOST_MB
            for client in clients:
                client.close()


def large(site: Installation, head: bytes, body: bytes) -> int:
    """Send a large body as far as it is taken; returns the status of the answer, 0 for none."""
    with socket.create_connection(("127.0.0.1", site.port), 60) as sender:
        received = b""
        with suppress(OSError):
            sender.sendall(b"POST /hooks/shop HTTP/1.1\r\nHost: hookd\r\nConnection: close\r\n" + head + b"\r\n")
            sender.sendall(body)
        with suppress(OSError):
            received = sender.recv(4096)
    return int(received[9:12] or 0)


SIZE = 30 * 1024 * 1024
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
LARGE: dict[str, tuple[bytes, bytes, set[int]]] = {
    "too long": (f"Content-Length: {SIZE}\r\n".encode(), b"x" * SIZE, {413, 0}),
    "chunked": (b"Transfer-Encoding: chunked\r\n", CHUNK * (SIZE // 0x10000) + b"0\r\n\r\n", {411, 0}),
    "as long as may be": (f"Content-Length: {MOST}\r\nContent-Type: {JSON}\r\n".encode(), b"x" * MOST, {401}),
    "a form": (
        f"Content-Length: {MOST}\r\nContent-Type: {FORM}\r\nX-Gitea-Signature: {'0' * 64}\r\n".encode(),
        b"payload=" + b"%41" * ((MOST - 8) // 3) + b"A" * ((MOST - 8) % 3),
        {401},
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_large_unsigned_bodies_leave_the_memory_bounded(receiver: Installation, kind: str) -> None:
    head, body, expected = LARGE[kind]
    before = {process.name for process in processes(receiver, "serve")}
    with ThreadPoolExecutor(8) as senders:
        statuses = set(senders.map(lambda _: large(receiver, head, body), range(24)))
    assert statuses <= expected and statuses & {401, 411, 413}
    assert max(peaks(receiver)) < MOST_MB
    assert {process.name for process in processes(receiver, "serve")} == before, "no process was replaced"
    assert receiver.send_push("shop")["status"] == "queued"


def catalogue(site: Installation, count: int) -> list[str]:
    """Write a catalogue of many apps, none of which has a repository."""
    apps = [f"app-{number}" for number in range(count)]
    for app in apps:
        table = {
            "repository": f"https://git.example.org/acme/{app}.git",
            "full_name": f"acme/{app}",
            "root": site.directory / "srv" / app,
            "health": {"url": "http://127.0.0.1:8000/healthz"},
        }
        (site.directory / "apps" / f"{app}.toml").write_text(toml(table))
        (site.directory / "secrets" / app).write_text(SECRET)
    return apps


def commands(redis: Redis) -> Counter[str]:
    """How often each command was given to Redis."""
    stats: Any = redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): found["calls"] for name, found in stats.items()})


def test_a_thousand_apps_are_served_with_a_few_questions(tmp_path: Path) -> None:
    with Installation(tmp_path, {"receiver": {"processes": 1}}) as site:
        site.write_config()
        apps = catalogue(site, APPS)
        site.start_redis()
        with site.receiver(), Redis.from_url(site.redis_url) as redis:
            for app in (apps[0], apps[-1]):
                body = push_body(app)
                assert site.post(f"/hooks/{app}", body, headers_of("github", body))[0] == 202
            for app in apps:
                site.records.publish(AppView(app=app, healthy=True))
            before = commands(redis)
            listed = site.post("/apps", b"", {}, method="GET")[1]["apps"]
            assert [each["app"] for each in listed] == sorted(apps)
            assert all(each["healthy"] for each in listed)
            seen = commands(redis)
            assert (seen - before)["mget"] == 1 and (seen - before)["get"] == 0
            page = site.post("/metrics", b"", {}, method="GET")[1]["text"]
            assert page.count("\nhookd_app_healthy{") == page.count("\nhookd_waiting{") == APPS
            assert (commands(redis) - seen)["mget"] == 2 and (commands(redis) - seen)["get"] == 0
            assert max(peaks(site)) < MOST_MB_OF_MANY
