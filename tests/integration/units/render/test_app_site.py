"""An app's site in a real nginx before a real gunicorn: streams, static files, and what visitors see without an app."""

import http.client
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.nginx import Sites
from tests.support.processes import accepts, python, running, wait_for
from tests.support.rendered import HOST, make_entry
from tests.support.websocket import WebSocket

DOMAIN = "shop.example.org"
HASHED = "app.55e7cbb9ba48.css"
SHOP = make_entry(
    "shop",
    {"units": "hookd"},
    "unix:/run/hookd-apps/shop.sock:/",
    site={"domain": DOMAIN, "static": {"/static/": "shop/static", "/media/": "img"}},
)
# Answers like an app with flask-sock: the handshake over WSGI, then frames on the socket.
APP = """
import base64, hashlib, os, time

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/ws":
        return talk(environ)
    if path == "/asked":
        open("asked", "w").close()
    if path == "/dies":
        os.kill(os.getpid(), 9)
    kind = "text/event-stream" if path == "/events" else "text/plain"
    start_response("200 OK", [("Content-Type", kind)])
    if path in ("/events", "/lines"):
        return stream(environ["wsgi.input"].read())
    if path == "/large":
        return large()
    raw = environ["RAW_URI"], environ["REQUEST_METHOD"], environ.get("HTTP_CONNECTION"), environ["SERVER_PROTOCOL"]
    return [" ".join(map(str, raw)).encode()]

def stream(body):
    for number in range(3):
        yield f"data: {number} {body.decode()}\\n\\n".encode()
        while not os.path.exists(f"go-{number}"):
            time.sleep(0.01)

def large():
    for _ in range(64):
        yield bytes(1 << 17)
    open("large-done", "w").close()

def talk(environ):
    connection = environ["gunicorn.socket"]
    accept = hashlib.sha1((environ["HTTP_SEC_WEBSOCKET_KEY"] + GUID).encode()).digest()
    upgrade = "HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    connection.sendall(f"{upgrade}Sec-WebSocket-Accept: {base64.b64encode(accept).decode()}\\r\\n\\r\\n".encode())
    while (head := connection.recv(2)) and head[0] == 0x81:
        mask, data = connection.recv(4), connection.recv(head[1] & 0x7F)
        text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data)).upper()
        connection.sendall(bytes((0x81, len(text))) + text)
    raise SystemExit
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Sites]:
    """nginx with the site of an app, without the app."""
    with tempfile.TemporaryDirectory(prefix="site-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        sites = Sites(directory)
        sites.write(HOST, SHOP)
        (directory / "own").mkdir()
        (directory / "hookd-apps").mkdir()
        (directory / "srv" / "shop" / "releases").mkdir(parents=True)
        (directory / "app.py").write_text(APP)
        with sites.served():
            yield sites


@contextmanager
def app_running(site: Sites) -> Iterator[None]:
    """Run the app on its socket for as long as the block."""
    path = site.directory / "hookd-apps" / "shop.sock"
    argv = python("-m", "gunicorn", "--bind", f"unix:{path}", "--threads", "8", "--workers", "2", "app:app")
    with running(argv, site.directory / "gunicorn.log", cwd=site.directory):
        wait_for(lambda: accepts(path), what="gunicorn")
        path.chmod(0o666)
        yield


@pytest.fixture
def shop(site: Sites) -> Iterator[Sites]:
    """The site with a release that serves."""
    release = site.directory / "srv" / "shop" / "releases" / "1"
    static = release / "shop" / "static"
    static.mkdir(parents=True, exist_ok=True)
    (release / "secret.txt").write_text("secret")
    (static / "app.css").write_text("body {}")
    (static / HASHED).write_text("hashed")
    current = site.directory / "srv" / "shop" / "current"
    current.unlink(missing_ok=True)
    current.symlink_to("releases/1")
    with app_running(site):
        yield site
    current.unlink()


def get(site: Sites, path: str, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    return site.ask("GET", path, DOMAIN, {name.replace("_", "-"): value for name, value in headers.items()})


def test_websocket_reaches_the_app(shop: Sites) -> None:
    with WebSocket(socket.create_connection(("127.0.0.1", shop.port), 10), DOMAIN, "/ws") as talk:
        assert talk.status == 101
        for text in ("hello", "again"):
            talk.send(text)
            assert talk.receive() == text.upper()


@pytest.mark.parametrize(
    ("method", "path", "accept"),
    [("GET", "/events", "text/event-stream"), ("POST", "/events", "*/*"), ("POST", "/lines", "text/event-stream")],
)
def test_stream_passes_at_once(shop: Sites, method: str, path: str, accept: str) -> None:
    for go in shop.directory.glob("go-*"):
        go.unlink()
    body = b"ask" if method == "POST" else None
    with closing(http.client.HTTPConnection("127.0.0.1", shop.port, timeout=20)) as connection:
        connection.request(method, path, body, {"Host": DOMAIN, "Accept": accept})
        response = connection.getresponse()
        for number in range(3):
            # The app writes the next event only after this one arrived.
            assert response.readline().decode().split() == ["data:", str(number), *(["ask"] if body else [])]
            response.readline()
            (shop.directory / f"go-{number}").touch()
        assert response.read() == b""


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_slow_reader_holds_no_app(shop: Sites, accept: str) -> None:
    """nginx' buffers let old processes end during a handover while visitors read slowly."""
    done = shop.directory / "large-done"
    done.unlink(missing_ok=True)
    with socket.create_connection(("127.0.0.1", shop.port), 10) as visitor:
        visitor.sendall(f"GET /large HTTP/1.1\r\nHost: {DOMAIN}\r\nAccept: {accept}\r\n\r\n".encode())
        wait_for(done.exists, what="the end of the app's answer")


def test_slow_writer_holds_no_app(shop: Sites) -> None:
    """A request whose body is not complete is not with the app yet."""
    asked = shop.directory / "asked"
    with socket.create_connection(("127.0.0.1", shop.port), 10) as visitor:
        visitor.sendall(f"POST /asked HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: 4\r\n\r\nab".encode())
        assert get(shop, "/")[0] == 200
        assert not asked.exists()
        visitor.sendall(b"cd")
        assert visitor.recv(100).startswith(b"HTTP/1.1 200 ")
    assert asked.exists()


def test_connections_to_the_app_close(shop: Sites) -> None:
    for path in ("/", "/a%2Fb?c=%20d", "/x", "/static/gone.css"):
        assert get(shop, path)[:2] == (200, f"{path} GET close HTTP/1.1")
    assert get(shop, "/", Upgrade="h2c", Connection="Upgrade")[1] == "/ GET close HTTP/1.1"


def test_static_files_come_from_the_release(shop: Sites) -> None:
    status, text, headers = get(shop, "/static/app.css?v=1")
    assert (status, text) == (200, "body {}")
    assert headers["Cache-Control"] == "no-cache"
    assert get(shop, "/static/app.css", If_None_Match=headers["ETag"])[0] == 304
    assert get(shop, f"/static/{HASHED}")[2]["Cache-Control"] == "max-age=315360000"
    for name in ("photo-20241231.css", "app.deadbeef.css"):  # A date, and a word.
        (shop.directory / "srv/shop/current/shop/static" / name).write_text("x")
        assert get(shop, f"/static/{name}")[2]["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/static/../secret.txt", "/static/..%2f..%2fsecret.txt", "/static../../secret.txt"])
def test_static_prefix_does_not_climb(shop: Sites, path: str) -> None:
    assert "secret" not in get(shop, path)[1].split()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret.txt"])
@pytest.mark.parametrize("place", ["file", "directory"])
def test_static_links_lead_nowhere(shop: Sites, target: str, place: str) -> None:
    static = shop.directory / "srv/shop/current/shop/static"
    link, path = (static / "link", "/static/link") if place == "file" else (static / "dir", "/static/dir/passwd")
    link.symlink_to(target if place == "file" else os.path.dirname(target) or "/etc")
    try:
        assert get(shop, path)[1] == f"{path} GET close HTTP/1.1"
    finally:
        link.unlink()


def test_stopped_app_is_unavailable(site: Sites, shop: Sites) -> None:
    assert get(shop, "/")[0] == 200
    socket_path = site.directory / "hookd-apps" / "shop.sock"
    hidden = socket_path.rename(socket_path.with_suffix(".hidden"))
    try:
        for headers in ({}, {"Accept": "text/event-stream"}):
            assert_unavailable(site, **headers)
        with WebSocket(socket.create_connection(("127.0.0.1", site.port), 10), DOMAIN, "/ws") as talk:
            assert talk.status == 503
        assert get(site, "/static/app.css")[:2] == (200, "body {}")
    finally:
        hidden.rename(socket_path)


def assert_unavailable(site: Sites, **headers: str) -> None:
    start = time.monotonic()
    status, text, found = get(site, "/any/page", **headers)
    assert (status, found["Retry-After"], found["Content-Type"]) == (503, "60", "text/html")
    assert "try again" in text
    assert time.monotonic() - start < 2


def test_crash_is_no_maintenance(shop: Sites) -> None:
    status, _, headers = get(shop, "/dies")
    assert (status, headers["Retry-After"]) == (502, None)


def test_visitor_before_the_first_release(site: Sites) -> None:
    """The socket is open and nobody answers, as before the first release of a blue-green app."""
    path = site.directory / "hookd-apps" / "shop.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        path.chmod(0o666)
        assert_unavailable(site)
        assert_unavailable(site, Accept="text/event-stream")
        # Without a look into the directory nginx cannot know, so the request waits for the app.
        releases = site.directory / "srv/shop/releases"
        away = releases.rename(releases.with_name("away"))
        try:
            answer: list[int] = []
            visitor = threading.Thread(target=lambda: answer.append(get(site, "/")[0]))
            visitor.start()
            asked, _ = held.accept()
            with asked:
                asked.recv(1000)
                asked.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
            visitor.join(10)
            assert answer == [204]
        finally:
            away.rename(releases)


def test_own_directives_are_included(site: Sites) -> None:
    own = site.directory / "own" / "shop.conf"
    (site.directory / "own" / "shopping.conf").write_text("nonsense")
    own.write_text('location = /robots.txt { return 200 "mine"; }\n')
    try:
        assert site.check() == ""
        own.write_text("nonsense on;\n")
        assert 'unknown directive "nonsense" in' in site.check() and "own/shop.conf:1" in site.check()
    finally:
        own.unlink()
        (site.directory / "own" / "shopping.conf").unlink()
