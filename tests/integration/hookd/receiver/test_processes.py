"""The receiver's processes: one without a master, or several below one. Each ends well."""

import http.client
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests.support.installation import Installation
from tests.support.load import processes
from tests.support.processes import accepts, python, running, wait_for
from tests.support.receiver import push_body
from tests.support.signatures import headers_of


@contextmanager
def serving(tmp_path: Path, **settings: Any) -> Iterator[tuple[Installation, "Popen[bytes]", Path]]:
    """Run a receiver on a unix socket."""
    path = tmp_path / "receiver.sock"
    with Installation(tmp_path, {"receiver": {"bind": f"unix:{path}", **settings}}) as site:
        site.add_app("shop")
        site.start_redis()
        with running(python("-m", "hookd.cli", "serve"), tmp_path / "receiver.log", site.environment) as process:
            wait_for(lambda: path.exists() and accepts(path), what="the receiver")
            yield site, process, path


def begun(path: Path) -> tuple[socket.socket, bytes]:
    """Send a push without its last byte, and return that byte."""
    body = push_body("shop")
    lines = (f"{name}: {text}\r\n" for name, text in {**headers_of("gitea", body), "Content-Length": len(body)}.items())
    sender = socket.socket(socket.AF_UNIX)
    sender.settimeout(30)
    sender.connect(str(path))
    sender.sendall(f"POST /hooks/shop HTTP/1.1\r\nHost: h\r\n{''.join(lines)}\r\n".encode() + body[:-1])
    return sender, body[-1:]


def answers(path: Path) -> bool:
    """Return True if a new request is answered."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(30)
        probe.connect(str(path))
        probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        return b"200 OK" in probe.recv(4096)


def test_stop_answers_the_running_request(tmp_path: Path) -> None:
    with serving(tmp_path) as (site, process, path):
        assert len(processes(site, "serve")) == 1
        sender, last = begun(path)
        with sender:
            assert answers(path)
            process.send_signal(signal.SIGTERM)
            sender.sendall(last)
            answer = http.client.HTTPResponse(sender)
            answer.begin()
            assert answer.status == 202
        assert process.wait(20) == 0
        assert not path.exists()


def test_interrupt_ends_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, process, path):
        sender, _ = begun(path)
        with sender:
            assert answers(path)
            process.send_signal(signal.SIGINT)
            assert process.wait(3) == 0
        assert not path.exists()


def test_receiver_outlives_its_parent(tmp_path: Path) -> None:
    """A person starts it in a shell and leaves the shell."""
    path = tmp_path / "receiver.sock"
    with Installation(tmp_path, {"receiver": {"bind": f"unix:{path}"}}) as site:
        site.start_redis()
        os.mkfifo(leave := tmp_path / "leave")
        argv = ["sh", "-c", '"$@" & read -r word <"$0"', str(leave), *python("-m", "hookd.cli", "serve")]
        with running(argv, tmp_path / "receiver.log", site.environment) as shell:
            wait_for(lambda: path.exists() and accepts(path), what="the receiver")
            leave.write_text("now\n")
            assert shell.wait(10) == 0
            assert [answers(path) for _ in range(3)] == [True] * 3
            os.killpg(shell.pid, signal.SIGTERM)
            wait_for(lambda: not path.exists(), what="its end")


def test_two_processes_have_a_master(tmp_path: Path) -> None:
    with serving(tmp_path, processes=2) as (site, process, path):
        wait_for(lambda: len(processes(site, "serve")) == 3, what="master and processes")
        assert answers(path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not path.exists()
