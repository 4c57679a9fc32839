"""Sites of apps on a real server: no release, a stop, WebSockets and event streams, static files, own directives."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import BROKEN, Shop, set_up_layer
from tests.support.server.visitors import visitors
from tests.support.server.web import Answer, ask
from tests.support.websocket import WebSocket

HANDOVERS = {"shop": "blue-green", "blog": "restart"}
# An app with the library of flask-sock.
TALKING = """\
import simple_websocket, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        talk(simple_websocket.Server.accept(environ))
        raise StopIteration
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"talking"]

def talk(socket):
    try:
        while True:
            socket.send(socket.receive().upper())
    except simple_websocket.ConnectionClosed:
        pass

def events():
    number = 0
    while True:
        yield f"data: {number}\\n\\n".encode()
        number += 1
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def machine(servers: Servers) -> Iterator[Machine]:
    with servers.start(set_up_layer(servers)) as started:
        yield started


@pytest.fixture(scope="module")
def waiting(machine: Machine) -> dict[str, Shop]:
    """Two apps without a release: the first one runs as www-data, the other one as a user of its own."""
    apps = {}
    for name, handover in HANDOVERS.items():
        shop = Shop(machine, name)
        shop.commit("v1")
        options = ("--repo", shop.repository.url, "--domain", shop.domain, "--handover", handover, "--file", ".env")
        shop.allow_reading()
        shop.hookd("app", "add", name, "--no-deploy", "--health", "/healthz", *options)
        shop.hookd("app", "edit", name, "--set", "health.deadline=8")
        apps[name] = shop
    return apps


@pytest.fixture(scope="module")
def shops(waiting: dict[str, Shop]) -> dict[str, Shop]:
    """The same with a good release."""
    for shop in waiting.values():
        shop.commit("v1")
        shop.hookd("deploy", shop.name)
    return waiting


def assert_unavailable(shop: Shop) -> None:
    start = time.monotonic()
    answer = ask(shop.machine, shop.domain, "/any/page")
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "60")
    assert time.monotonic() - start < 5


def test_visitor_before_the_first_release(waiting: dict[str, Shop]) -> None:
    for shop in waiting.values():
        assert_unavailable(shop)
        shop.commit("bad", {"wsgi.py": BROKEN["answers 500"]})
        assert shop.machine.run("hookd", "deploy", shop.name, check=False).returncode != 0
        assert_unavailable(shop)
    waiting["shop"].machine.reboot()
    for shop in waiting.values():
        assert_unavailable(shop)


def test_first_good_release_serves(shops: dict[str, Shop]) -> None:
    assert {shop.page() for shop in shops.values()} == {"v1"}


@pytest.mark.parametrize("name", HANDOVERS)
def test_stopped_app_is_unavailable(shops: dict[str, Shop], name: str) -> None:
    shop = shops[name]
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        shop.hookd("restart", name)
    assert not crowd.failures, crowd.failures[:5]
    shop.hookd("stop", name)
    assert_unavailable(shop)
    shop.hookd("start", name)
    assert shop.page() == "v1"


def test_streams_do_not_disturb_a_deployment(shops: dict[str, Shop]) -> None:
    shop = shops["shop"]
    requirements = {"wsgi.py": TALKING, "requirements.txt": "gunicorn\nsimple-websocket\n"}
    assert shop.push("talking", requirements)["status"] == "succeeded"
    crowd_of = visitors(shop.machine, shop.domain, per_second=50)
    with talk(shop) as socket, listen(shop) as events, crowd_of as crowd:
        socket.send("hello")
        assert socket.receive() == "HELLO"
        assert [events.readline() for _ in range(3)] == [b"data: 0\n", b"\n", b"data: 1\n"]
        assert shop.push("talking again", requirements)["status"] == "succeeded"
        assert socket.receive() == ""
    assert not crowd.failures, crowd.failures[:5]
    with talk(shop) as socket:
        socket.send("new")
        assert socket.receive() == "NEW"


def talk(shop: Shop) -> WebSocket:
    connection = shop.machine.socket()
    connection.settimeout(60)
    connection.connect(("127.0.0.1", 80))
    return WebSocket(connection, shop.domain, "/ws")


@contextmanager
def listen(shop: Shop) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection(shop.domain, timeout=60)) as connection:
        connection.sock = shop.machine.socket()
        connection.sock.settimeout(60)
        connection.sock.connect(("127.0.0.1", 80))
        connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
        yield connection.getresponse()


def test_nginx_serves_static_files_alone(shops: dict[str, Shop]) -> None:
    blog = shops["blog"]
    blog.hookd("app", "edit", "blog", "--set", 'site.static={"/static/" = "blog/web"}')
    files = {"blog/web/app.css": "body {}", "blog/web/img/a.55e7cbb9ba48.svg": "<svg/>", "blog/code.py": "x = 1"}
    blog.repository.work.joinpath("blog/web").mkdir(parents=True, exist_ok=True)
    blog.repository.work.joinpath("blog/web/source.py").symlink_to("../code.py")
    record = blog.push("static", files)
    assert record["status"] == "succeeded", record
    found = ask(blog.machine, blog.domain, "/static/app.css")
    assert (found.text, found.headers["Content-Type"]) == ("body {}", "text/css")
    assert is_from_nginx(found) and found.headers["Cache-Control"] == "no-cache"
    hashed = ask(blog.machine, blog.domain, "/static/img/a.55e7cbb9ba48.svg")
    assert is_from_nginx(hashed) and hashed.headers["Cache-Control"] == "max-age=315360000"
    for path in ("/static/source.py", "/static/gone.css", "/static/"):
        assert ask(blog.machine, blog.domain, path).text == "static"
    assert_nothing_else_is_readable(blog)
    assert "all paths match" in blog.hookd("permissions", "blog")


def is_from_nginx(answer: Answer) -> bool:
    return answer.status == 200 and "ETag" in answer.headers


def assert_nothing_else_is_readable(blog: Shop) -> None:
    """nginx' user passes through directories, reads static files, and nothing else."""
    current = "/srv/blog/current"
    for path in (f"{current}/wsgi.py", f"{current}/blog/code.py", "/srv/blog/shared/.env", f"{current}/.env"):
        assert blog.machine.run("test", "-r", path, user="www-data", check=False).returncode == 1, path
    for path in ("/srv/blog", "/srv/blog/releases", current, f"{current}/blog", "/srv/blog/shared"):
        assert blog.machine.run("ls", path, user="www-data", check=False).returncode != 0, path


def test_own_directives_stay(shops: dict[str, Shop]) -> None:
    blog, machine = shops["blog"], shops["blog"].machine
    machine.write("/etc/hookd/sites/blog.conf", 'add_header X-Own "yes" always;\n')
    blog.hookd("app", "edit", "blog", "--set", "site.max_body=20")
    assert ask(machine, blog.domain).headers["X-Own"] == "yes"
    machine.write("/etc/hookd/sites/blog.conf", "nonsense on;\n")
    refused = machine.run("hookd", "app", "edit", "blog", "--set", "site.max_body=30", check=False)
    assert refused.returncode == 2
    assert 'unknown directive "nonsense" in /etc/hookd/sites/blog.conf:1' in refused.stderr
    assert "site.max_body = 30" not in machine.read("/etc/hookd/apps/blog.toml")
    assert "/etc/hookd/sites/blog.conf:1" in machine.run("hookd", "doctor", check=False).stdout
    assert ask(machine, blog.domain).headers["X-Own"] == "yes"
    machine.write("/etc/hookd/sites/blog.conf", "# mine\n")
    assert "stays: /etc/hookd/sites/blog.conf" in blog.hookd("app", "remove", "blog", "--yes")
    uninstalled = blog.hookd("uninstall", "--yes")
    assert "stays: /etc/hookd/sites/blog.conf" in uninstalled
    assert machine.read("/etc/hookd/sites/blog.conf") == "# mine\n"
