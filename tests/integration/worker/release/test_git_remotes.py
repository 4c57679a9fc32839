"""Git servers that hang, ask for a password, redirect, or are not allowed."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.mirrors import Mirror
from tests.support.repository import Repository
from tests.support.tasks import deploying, make_app
from worker.errors import DeployError
from worker.release.git_mirror import GitMirror


@contextmanager
def silent_peer() -> Iterator[int]:
    """Run a server that never answers, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peers: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    peers.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for peer in peers:
                peer.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Redirects /first to a URL with credentials, and asks for a password elsewhere."""

    def do_GET(self) -> None:
        """Redirect or ask for a password."""
        port = self.connection.getsockname()[1]
        if self.path.startswith("/first"):
            self.send_response(302)
            self.send_header("Location", f"http://ada:canary-value@127.0.0.1:{port}/second/info/refs")
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def strict_server() -> Iterator[int]:
    """Run a server that asks for a password, and yield its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def group_of_git() -> list[str]:
    """Return the command lines of the git programs that descend from this process."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = (process / "stat").read_text().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        if line.startswith("git ") and parent == str(os.getpid()):
            found.append(line)
    return found


@pytest.mark.threat(20)
def test_silent_server_times_out(tmp_path: Path) -> None:
    with silent_peer() as port:
        mirror = Mirror(tmp_path, f"http://127.0.0.1:{port}/shop.git", limits={"git_seconds": 1})
        with pytest.raises(DeployError, match=r"longer than 1 s and was stopped \(limits\.git_seconds\)$") as caught:
            mirror.checkout.fetch_head()
        assert caught.value.hint == Hint(HintKind.SET_GIT_SECONDS, "2")
        assert group_of_git() == []


@pytest.mark.threat(20)
def test_hanging_server_keeps_mirror(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo")
    repository.commit_and_push({"app.py": "x"})
    mirror = Mirror(tmp_path, repository)
    head = mirror.checkout.fetch_head()
    with silent_peer() as port:
        hung = Mirror(tmp_path, f"http://127.0.0.1:{port}/shop.git", limits={"git_seconds": 1})
        with pytest.raises(DeployError, match="ran longer than 1 s"):
            hung.checkout.fetch_head()
    assert mirror.checkout.fetch_head() == head


@pytest.mark.threat(20)
def test_no_password_prompt(tmp_path: Path, strict_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\ntouch {asked}\necho secret\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(program))
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    with pytest.raises(DeployError, match=r"could not read Username|Authentication failed"):
        Mirror(tmp_path, f"http://127.0.0.1:{strict_server}/shop.git").checkout.fetch_head()
    assert not asked.exists()


@pytest.mark.threat(17)
@pytest.mark.parametrize("transport", ["file", "http"])
def test_reject_transport(tmp_path: Path, transport: str) -> None:
    Repository(tmp_path / "repo").commit_and_push({"app.py": "x"})
    url = {"file": f"file://{tmp_path}/repo/remote.git", "http": "http://127.0.0.1:9/shop.git"}[transport]
    with pytest.raises(DeployError, match=f"transport '{transport}' not allowed"):
        Mirror(tmp_path, url, git_protocols=("https", "ssh")).checkout.fetch_head()


def test_redirect_credentials_stay_secret(tmp_path: Path, strict_server: int) -> None:
    app = make_app(tmp_path, repository=f"http://127.0.0.1:{strict_server}/first")
    with deploying(tmp_path, app) as at:
        checkout = GitMirror(app, at.task.settings, at.task.recorder.line)
        with pytest.raises(DeployError) as caught:
            checkout.fetch_head()
        at.task.recorder.line(caught.value.cause)
        assert "second" in at.text
        assert "canary-value" not in at.text


def test_quote_in_key_path(tmp_path: Path) -> None:
    key = tmp_path / f"key'; touch {tmp_path}/ran; '"
    with pytest.raises(DeployError, match="cannot be fetched"):
        Mirror(tmp_path, "ssh://git@127.0.0.1:9/shop.git", deploy_key=key).checkout.fetch_head()
    assert not (tmp_path / "ran").exists()
