"""The receiver under its real server: bytes on a connection, from clients that are slow, gone or hostile."""

import http.client
import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from hookd.receiver.signed_request import MAX_FORM_BYTES
from tests.support.installation import Installation
from tests.support.processes import wait_for
from tests.support.receiver import FORM, push_body, stored
from tests.support.signatures import headers_of, signed

MOST = 25 * 1024 * 1024
UNSIGNED = b'{"error":"invalid signature"}\n'
# Longer than any wait for a client may last; a connection that is open then has been forgotten.
FORGOTTEN_SECONDS = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A receiver under its own server, for an app of GitHub and one of Gitea."""
    with Installation(tmp_path_factory.mktemp("wire")) as installation:
        installation.add_app("github", sender="github")
        installation.add_app("gitea", sender="gitea")
        installation.start_redis()
        installation.start_receiver()
        yield installation


@pytest.fixture
def redis(site: Installation) -> Iterator[Redis]:
    """The Redis of the receiver, empty."""
    with Redis.from_url(site.redis_url) as connection:
        connection.flushdb()
        yield connection


def connected(site: Installation) -> socket.socket:
    """Connect to the receiver."""
    return socket.create_connection(("127.0.0.1", site.port), timeout=FORGOTTEN_SECONDS)


def head(*lines: bytes, target: bytes = b"POST /hooks/github") -> bytes:
    """Write the head of a request by hand."""
    return b"\r\n".join([target + b" HTTP/1.1", b"Host: hookd", *lines, b"", b""])


class _Kept(io.BytesIO):
    """Received bytes that http.client reads like a socket."""

    def makefile(self, *_: object) -> io.BytesIO:
        return self


def exchanged(site: Installation, request: bytes) -> tuple[int, bytes]:
    """Send bytes, close the sending side, and read the answer, which is (0, b"") without one."""
    with connected(site) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    if not received:
        return 0, b""
    response = http.client.HTTPResponse(_Kept(received))  # type: ignore[arg-type]
    response.begin()
    return response.status, response.read()


def lines_of(headers: dict[str, str]) -> list[bytes]:
    """Write headers as lines."""
    return [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]


def signed_request(*extra: bytes, without: str = "") -> bytes:
    """Write a signed push with more lines in its head."""
    body = push_body("github")
    headers = {name: value for name, value in headers_of("github", body).items() if name != without}
    length = f"Content-Length: {len(body)}".encode()
    return b"\r\n".join([b"POST /hooks/github HTTP/1.1", b"Host: hookd", length, *lines_of(headers), *extra, b"", body])


def test_a_signed_push_is_taken(site: Installation, redis: Redis) -> None:
    assert exchanged(site, signed_request())[0] == 202
    assert stored(redis)


SIGNATURE = b"X-Hub-Signature-256: sha256=" + signed(push_body("github")).encode()
WITHOUT_401 = {
    "doubled": [SIGNATURE, SIGNATURE],
    "right one first": [SIGNATURE, b"X-Hub-Signature-256: sha256=" + b"0" * 64],
    "empty": [b"X-Hub-Signature-256:"],
    "missing": [],
    "not ASCII": [b"X-Hub-Signature-256: sha256=\xc3\xa9\xff" + b"a" * 61],
    "an underscore for a dash": [SIGNATURE.replace(b"-", b"_")],
    "upper case": [b"X-Hub-Signature-256: sha256=" + signed(push_body("github")).upper().encode()],
}


@pytest.mark.threat(2)
@pytest.mark.parametrize("lines", [pytest.param(lines, id=name) for name, lines in WITHOUT_401.items()])
def test_inexact_signatures_get_401(site: Installation, redis: Redis, lines: list[bytes]) -> None:
    assert exchanged(site, signed_request(*lines, without="X-Hub-Signature-256")) == (401, UNSIGNED)
    assert stored(redis) == 0


@pytest.mark.threat(1)
@pytest.mark.parametrize("lines", [[], [b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: gzip, chunked"]])
def test_body_needs_a_length(site: Installation, redis: Redis, lines: list[bytes]) -> None:
    request = head(SIGNATURE, b"X-GitHub-Event: push", *lines) + b"2\r\n{}\r\n0\r\n\r\n"
    assert exchanged(site, request)[0] == 411
    assert stored(redis) == 0


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 2", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 2", b"Content-Length: 3"],
        [b"Content-Length: -1"],
        [b"Content-Length: x"],
        [b"Content-Length : 2"],
    ],
)
def test_ambiguous_length_is_refused(site: Installation, redis: Redis, lines: list[bytes]) -> None:
    assert exchanged(site, head(SIGNATURE, *lines) + b"{}")[0] == 400
    assert stored(redis) == 0


@pytest.mark.threat(1)
@pytest.mark.parametrize("length", [MOST + 1, 10**12, 10**30])
def test_large_body_is_refused_early(site: Installation, length: int) -> None:
    assert exchanged(site, head(f"Content-Length: {length}".encode()))[0] == 413


@pytest.mark.threat(1, 2)
@pytest.mark.parametrize("name", [b"gitea", b"github", b"unknown"])
def test_large_form_is_refused_early(site: Installation, name: bytes) -> None:
    lines = [b"Content-Type: %s" % FORM.encode(), b"Content-Length: %d" % (MAX_FORM_BYTES + 1)]
    status, content = exchanged(site, head(*lines, target=b"POST /hooks/" + name))
    assert (status, content) == (413, b'{"error":"a form has at most 1048576 bytes, choose application/json"}\n')


def test_empty_body_is_bad_signature(site: Installation) -> None:
    assert exchanged(site, head(b"Content-Length: 0")) == (401, UNSIGNED)


@pytest.mark.parametrize("name", [b"SCRIPT_NAME", b"PATH_INFO", b"REMOTE_USER", b"CONTENT_LENGTH"])
@pytest.mark.parametrize("value", [b"/hooks", b"/elsewhere", b"x"])
def test_wsgi_like_headers_are_ignored(site: Installation, redis: Redis, name: bytes, value: bytes) -> None:
    assert exchanged(site, signed_request(name + b": " + value))[0] == 202
    assert exchanged(site, head(name + b": " + value, b"Content-Length: 2") + b"{}") == (401, UNSIGNED)


@pytest.mark.parametrize("target", [b"GET /hooks/github", b"PUT /hooks/github", b"X /hooks/github"])
def test_only_post_takes_a_push(site: Installation, redis: Redis, target: bytes) -> None:
    assert exchanged(site, signed_request().replace(b"POST /hooks/github", target))[0] in (400, 405)
    assert stored(redis) == 0


def refused_late(sock: socket.socket) -> bool:
    """Return True if a connection ends with a refusal or without an answer."""
    received = b"".join(iter(lambda: sock.recv(65536), b""))
    return not received or b" 408 " in received.splitlines()[0]


def _dripped(sock: socket.socket, piece: bytes) -> bool:
    """Send a byte from time to time until the other side closes, and return True if it refused."""
    sock.settimeout(1)
    received: list[bytes] = []

    def ended() -> bool:
        try:
            sock.sendall(piece)
            received.append(sock.recv(65536))
        except TimeoutError:
            return False
        except OSError:
            received.append(b"")
        return True

    wait_for(ended, FORGOTTEN_SECONDS, "the end of a slow request")
    return not received[0] or b" 408 " in received[0]


@pytest.mark.threat(8)
def test_slow_clients_are_closed(site: Installation, redis: Redis) -> None:
    """Clients that send no head, half a body, or a byte a second hold all threads. All of them are closed."""
    threads = site.config.settings.receiver.threads
    with ThreadPoolExecutor(threads) as clients:
        half = head(b"Content-Length: 100") + b"half"
        silent = [connected(site) for _ in range(threads // 4)]
        half_body = [connected(site) for _ in range(threads // 4)]
        dripping_head = [connected(site) for _ in range(threads // 4)]
        dripping_body = [connected(site) for _ in range(threads // 4)]
        assert len(silent + half_body + dripping_head + dripping_body) == threads
        for sock in silent:
            sock.sendall(b"POST /hooks/github HTTP/1.1\r\nHost: ")
        for sock in half_body:
            sock.sendall(half)
        for sock in dripping_head:
            sock.sendall(b"POST /hooks/github HTTP/1.1\r\nX-Long: ")
        for sock in dripping_body:
            sock.sendall(head(b"Content-Length: 60000"))
        waits = [clients.submit(refused_late, sock) for sock in (*silent, *half_body)]
        waits += [clients.submit(_dripped, sock, b"x") for sock in (*dripping_head, *dripping_body)]
        assert all(wait.result() for wait in waits)
        for sock in (*silent, *half_body, *dripping_head, *dripping_body):
            sock.close()
    assert exchanged(site, signed_request())[0] == 202


def test_vanished_client_leaves_nothing(site: Installation, redis: Redis) -> None:
    for _ in range(20):
        with connected(site) as sock:
            sock.sendall(head(b"Content-Length: 100000") + b"x" * 70_000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert exchanged(site, signed_request())[0] == 202
    wait_for(lambda: not leftovers(site), what="the end of the bodies that were never finished")


def receiver_processes(site: Installation) -> list[Path]:
    """Find the receiver's processes below /proc, by the configuration they were started with."""
    setting = f"HOOKD_CONFIG={site.config_path}".encode()
    found = [each for each in Path("/proc").glob("[0-9]*") if setting in _read(each / "environ").split(b"\0")]
    assert found
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # Another user's process, or one that has just ended.
        return b""


def leftovers(site: Installation) -> list[str]:
    """List the deleted files that the receiver still holds open: bodies that wait on disk."""
    names = [_target(link) for process in receiver_processes(site) for link in (process / "fd").iterdir()]
    return [name for name in names if name.endswith(" (deleted)") and "wgunicorn" not in name]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


FLOOD = {
    "JSON": ("github", "application/json", b"x" * MOST),
    "a form of escapes": ("gitea", FORM, b"payload=" + b"%ff" * ((MAX_FORM_BYTES - 8) // 3)),
    "a form of fields": ("gitea", FORM, b"&" * MAX_FORM_BYTES),
}


@pytest.mark.threat(1)
@pytest.mark.parametrize(("app", "kind", "body"), [pytest.param(*case, id=name) for name, case in FLOOD.items()])
def test_body_flood_uses_bounded_memory(site: Installation, redis: Redis, *, app: str, kind: str, body: bytes) -> None:
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}

    def send(_: int) -> int:
        return site.post(f"/hooks/{app}", body, headers)[0]

    with ThreadPoolExecutor(8) as clients:
        assert set(clients.map(send, range(16))) == {401}
    peak = max(_peak_mib(process) for process in receiver_processes(site))
    assert peak < 200
    assert stored(redis) == 0
    assert leftovers(site) == []


def _peak_mib(process: Path) -> int:
    """Read the most memory that a process ever held, in MiB."""
    status = (process / "status").read_text()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))
