"""Network helpers of other tests: a git host with deploy keys, visitors, signed pushes."""

import re
import socket
import socketserver
from collections.abc import Iterator
from threading import Thread

import pytest

from tests.support.server.machine import Machine
from tests.support.server.sshgit import NAME, GitHost, git_host
from tests.support.server.visitors import visitors
from tests.support.server.web import ask, push

KEY = "/root/.ssh/id_ed25519"


@pytest.fixture(scope="module")
def host(fresh_server: Machine) -> GitHost:
    """A git host with root's deploy key."""
    host = git_host(fresh_server)
    fresh_server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY)
    fresh_server.write("/root/.ssh/known_hosts", host.known_hosts)
    host.allow_reading(fresh_server.read(f"{KEY}.pub"), "acme/shop")
    return host


def test_deploy_key_reads_its_repository_only(fresh_server: Machine, host: GitHost) -> None:
    shop, other = host.repository("acme/shop"), host.repository("acme/other")
    commit = shop.commit_and_push({"app.py": "one"})
    other.commit_and_push({"app.py": "other"})
    for address in (shop.url, shop.url_with_port):
        assert fresh_server.run("git", "ls-remote", address, "main").stdout == f"{commit}\trefs/heads/main\n"
    refused = fresh_server.run("git", "ls-remote", other.url, check=False)
    assert "may only read acme/shop" in refused.stderr
    fresh_server.run("git", "clone", "-q", shop.url, "/tmp/clone")
    assert "may only read" in fresh_server.run("git", "-C", "/tmp/clone", "push", check=False).stderr
    assert fresh_server.run("ssh", f"git@{NAME}", "id", check=False).returncode == 1


def test_repository_outlives_a_reboot(fresh_server: Machine, host: GitHost) -> None:
    fresh_server.reboot()
    shop = git_host(fresh_server).repository("acme/shop")
    commit = shop.commit_and_push({"app.py": "two"})
    assert fresh_server.run("git", "ls-remote", shop.url, "main").stdout.startswith(commit)


def test_visitors_report_failures(fresh_server: Machine) -> None:
    fresh_server.write("/var/www/html/page", "a page")
    with visitors(fresh_server, "shop.example.org", "/page") as crowd:
        crowd.wait_for_more(200)
        assert (crowd.failures, crowd.pages) == ([], {"a page"})
        fresh_server.run("systemctl", "stop", "nginx.service")
        fresh_server.run("systemctl", "start", "nginx.service")
    assert any("ConnectionRefused" in failure for failure in crowd.failures)
    assert crowd.slowest > 0


class Here:
    """The host's own network."""

    def socket(self) -> socket.socket:
        """Return a TCP socket."""
        return socket.socket()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na pag",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\na page\r\n",
    ],
)
def test_incomplete_page_is_a_failure(answer: bytes) -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with visitors(Here(), "shop.example.org", port=server.server_address[1]) as crowd:
            crowd.wait_for_more()
        server.shutdown()
    assert (crowd.answers, len(crowd.failures)) == ([], crowd.number)


@pytest.fixture
def echo(fresh_server: Machine) -> Iterator[str]:
    """A site that answers with the request's signature."""
    place = "location / { return 202 $http_x_hub_signature_256; }"
    site = f"server {{ listen 80; server_name deploy.example.org; {place} }}\n"
    fresh_server.write("/etc/nginx/conf.d/echo.conf", site)
    fresh_server.run("systemctl", "restart", "nginx.service")
    yield "deploy.example.org"
    fresh_server.run("rm", "/etc/nginx/conf.d/echo.conf")


def test_signed_push_goes_through_nginx(fresh_server: Machine, echo: str) -> None:
    fresh_server.wait_until(lambda: ask(fresh_server, echo).status == 202, what="the site")
    answer = push(fresh_server, echo, "shop", "a secret", after="3" * 40)
    assert answer.status == 202
    assert re.fullmatch(r"sha256=[0-9a-f]{64}", answer.text)
