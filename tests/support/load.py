"""Floods for the receiver, and what they do to its memory: pushes, slow clients, large bodies, many apps."""

import http.client
import select
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hookd.receiver.signed_request import MAX_FORM_BYTES
from tests.support.installation import Installation
from tests.support.receiver import FORM, push_body
from tests.support.signatures import JSON, SECRET, headers_of
from tests.support.toml_tables import toml

PUSHES = 10_000
SENDERS = 16
# A sender repeats refused pushes.
TRIES = 20
SLOW_CLIENTS = 300
APPS = 1000
MOST = 25 * 1024 * 1024


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
    """Return the peak memory of a process."""
    status = (process / "status").read_text()
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))


def peaks(site: Installation) -> list[float]:
    """Return the peak memory of each process of the receiver."""
    found = [peak_mb(process) for process in processes(site, "serve")]
    assert found
    return found


def send(site: Installation, app: str, numbers: range) -> Counter[int]:
    """Send pushes one after the other until each is accepted, and return all answers."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    answers = Counter[int]()
    for number in numbers:
        for _ in range(TRIES):
            status = _answer(connection, app, f"d-{number}")
            answers[status] += 1
            if status in (200, 202):
                break
        else:
            raise AssertionError(f"the delivery {number} was not taken: {answers}")
    connection.close()
    return answers


def _answer(connection: http.client.HTTPConnection, app: str, delivery: str) -> int:
    """Send one delivery and return the status of the answer, or 0."""
    body = push_body(app, delivery=delivery)
    try:
        connection.request("POST", f"/hooks/{app}", body, headers_of("gitea", body, delivery=delivery))
        response = connection.getresponse()
        response.read()
        return response.status
    except (http.client.HTTPException, ConnectionError):  # A kept connection whose time was over.
        connection.close()
        return 0


def burst(site: Installation, app: str, pushes: int) -> Counter[int]:
    """Send all pushes from many senders at once."""
    with ThreadPoolExecutor(SENDERS) as pool:
        shares = [range(pushes)[number::SENDERS] for number in range(SENDERS)]
        return sum(pool.map(lambda numbers: send(site, app, numbers), shares), Counter[int]())


SLOW = b"POST /hooks/shop HTTP/1.1\r\nHost: deploy.example.org\r\nContent-Length: 100\r\n\r\nabc"


def slow_client(port: int, number: int) -> socket.socket:
    """Connect from one of ten addresses, and send three of a hundred bytes."""
    sender = socket.create_connection(("127.0.0.1", port), 30, source_address=(f"127.0.0.{2 + number % 10}", 0))
    sender.sendall(SLOW)
    return sender


def is_held(sender: socket.socket) -> bool:
    """Return True if a client still waits for an answer."""
    return not select.select([sender], [], [], 0)[0]


def large(site: Installation, head: bytes, body: bytes) -> int:
    """Send a large body as far as it is accepted, and return the status of the answer, or 0."""
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
        f"Content-Length: {MAX_FORM_BYTES}\r\nContent-Type: {FORM}\r\nX-Gitea-Signature: {'0' * 64}\r\n".encode(),
        (b"payload=" + b"%41" * (MAX_FORM_BYTES // 3 - 8)).ljust(MAX_FORM_BYTES, b"A"),
        {401},
    ),
}


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
