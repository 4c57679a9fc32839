"""The receiver as systemd starts it: sockets, secrets and passwords are handed over, and no network is there."""

import errno
import http.client
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hookd.model.deployment import Trigger
from hookd.queue.deployments import DeploymentRequest
from tests.support.guarded import PASSWORDS, GuardedInstallation, refusals
from tests.support.installation import Installation
from tests.support.processes import python, running, wait_for
from tests.support.receiver import FORM, push_body
from tests.support.signatures import SECRET, gitea_headers, headers_of

TOKEN = "a token with some length"
# What systemd does before it starts a service: a socket becomes descriptor 3, and the variables name this process.
# And what RestrictAddressFamilies=AF_UNIX does: every other socket is refused.
ACTIVATED = """
import os, runpy, socket, sys
def only_unix(event, arguments):
    if event == "socket.__new__" and arguments[1] not in (-1, socket.AF_UNIX):
        raise OSError({errno}, "Address family not supported by protocol")
held = socket.socket(socket.AF_UNIX)
held.bind(sys.argv.pop(1))
held.listen()
os.dup2(held.fileno(), 3)
sys.addaudithook(only_unix)
os.environ |= {{"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}}
sys.argv = ["hookd", "serve"]
runpy.run_module("hookd.cli", run_name="__main__")
"""
# Modes of files do not hold root back, but for this.
ORDINARY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"] if os.geteuid() == 0 else []


@dataclass(frozen=True)
class Activated:
    """A receiver that was handed its socket."""

    site: GuardedInstallation
    path: Path
    log: Path
    spool: Path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send a request as nginx does, over the unix socket."""
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(self.path))
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def push(self, secret: str = SECRET, **headers: str) -> int:
        """Send a push of the shop, signed with a secret."""
        body = push_body("shop")
        return self.ask("POST", "/hooks/shop", body, **{**gitea_headers(body, secret), **headers})[0]


@pytest.fixture(scope="module")
def activated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Activated]:
    """A receiver with nothing but what its unit gives it: a socket, credentials, and a directory for large bodies."""
    directory = tmp_path_factory.mktemp("activated")
    nowhere = directory / "nowhere"
    settings = {
        "receiver": {
            "bind": f"unix:{directory}/hookd.sock",
            "secrets": nowhere,
            "token_file": nowhere / "token",
            "public_status": False,
        },
    }
    with GuardedInstallation(directory, settings=settings) as site:
        site.add_app("shop")
        site.start_redis()
        give_credentials(site)
        with receiver(site, directory / "hookd.sock") as log:
            yield Activated(site, directory / "hookd.sock", log, directory / "spool")


def give_credentials(site: GuardedInstallation) -> None:
    """Put the credentials where systemd would, and take away what stood elsewhere."""
    directory = site.directory / "credentials"
    directory.mkdir()
    (directory / "secrets_shop").write_text(SECRET)
    (directory / "token").write_text(f"{TOKEN}\n")
    for role in ("receiver", "status"):
        (directory / f"redis_{role}").write_text(PASSWORDS[role])
    for file in site.passwords.iterdir():
        file.unlink()


@contextmanager
def receiver(site: Installation, path: Path) -> Iterator[Path]:
    """Run the receiver on a socket that is held here, and wait until it has told systemd that it is ready."""
    log, spool = site.directory / "activated.log", site.directory / "spool"
    spool.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(site.directory / "notify.sock"))
        notified.settimeout(30)
        environment = {
            **site.environment,
            "NOTIFY_SOCKET": str(site.directory / "notify.sock"),
            "CREDENTIALS_DIRECTORY": str(site.directory / "credentials"),
            "TMPDIR": str(spool),
        }
        argv = python("-P", "-c", ACTIVATED.format(errno=errno.EAFNOSUPPORT), str(path))
        with running([*ORDINARY, *argv], log, environment, Path("/")):
            assert b"READY=1" in notified.recv(4096).split(b"\n")
            assert notified.recv(4096) == b"WATCHDOG=1", "systemd would end a silent one"
            yield log


def refused(activated: Activated, before: int) -> list[str]:
    """Return the new log lines about refused signatures."""
    text = activated.log.read_text()[before:]
    return [line for line in text.splitlines() if "refused signature" in line]


def test_systemd_socket_accepts_pushes(activated: Activated) -> None:
    assert activated.push() == 202
    assert activated.path.is_socket(), "the socket is systemd's, and stays"
    assert refusals(activated.site.plain_url) == []


def test_systemd_token_allows_status(activated: Activated) -> None:
    assert activated.ask("GET", "/apps")[0] == 401
    assert activated.ask("GET", "/apps", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert activated.ask("GET", "/readyz")[0] == 200
    assert refusals(activated.site.plain_url) == []


def test_large_bodies_use_the_directory(activated: Activated) -> None:
    """Without TMPDIR the body would be in /tmp, which is memory on newer systems."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(activated.path))
        length = 20 * 1024 * 1024
        sock.sendall(f"POST /hooks/shop HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode())
        sock.sendall(b"x" * (1024 * 1024))
        wait_for(lambda: spooled(activated.spool), what="the file of a large body")


def spooled(directory: Path) -> bool:
    """Return True if a process holds a deleted file of a directory open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(f"{directory}/") and target.endswith(" (deleted)") and "wgunicorn" not in target:
            return True
    return False


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ({}, "-"),
        ({"X_Forwarded_For": "192.0.2.7"}, "192.0.2.7"),
        ({"X_Forwarded_For": "203.0.113.9, 192.0.2.7"}, "192.0.2.7"),
        ({"X_Forwarded_For": "192.0.2.7 app=blog client=203.0.113.9"}, "-"),
        ({"X_Forwarded_For": "fe80::1%x client=203.0.113.9"}, "-"),
    ],
)
def test_bad_signature_is_one_log_line(activated: Activated, header: dict[str, str], client: str) -> None:
    before = len(activated.log.read_text())
    assert activated.push("another secret of 16 bytes", **header) == 401
    wait_for(lambda: refused(activated, before), what="the line")
    [line] = refused(activated, before)
    assert line == f"WARNING hookd.receiver.app refused signature app=shop client={client} check=wrong signature"


@pytest.mark.parametrize(
    ("path", "content", "headers", "told"),
    [
        ("/hooks/shop", b"{}", {}, "app=shop client=- check=no signature"),
        (
            "/hooks/shop",
            b"{}",
            {"X-Gitea-Signature": "no hexadecimal digits"},
            "app=shop client=- check=malformed signature",
        ),
        (
            "/hooks/shop",
            b"payload=x&more=y",
            {"Content-Type": FORM, "X-Gitea-Signature": "0" * 64},
            "app=shop client=- check=unsignable form",
        ),
        ("/hooks/nobody", b"{}", {}, "app=- client=- check=no such app"),
        (
            "/hooks/shop%0AWARNING%20hookd.app%20refused%20signature%20app=shop%20client=192.0.2.7",
            b"{}",
            {},
            "app=- client=- check=no such app",
        ),
        ("/hooks/%1b[2J", b"{}", {}, "app=- client=- check=no such app"),
    ],
)
def test_each_refusal_is_one_log_line(
    activated: Activated, path: str, content: bytes, headers: dict[str, str], told: str
) -> None:
    before = len(activated.log.read_text())
    assert activated.ask("POST", path, content, **headers)[0] == 401
    wait_for(lambda: refused(activated, before), what="the line")
    assert refused(activated, before) == [f"WARNING hookd.receiver.app refused signature {told}"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", activated.log.read_text()[before:])


@pytest.mark.parametrize("closed", ["file", "directory"])
def test_unreadable_log_is_404(activated: Activated, closed: str) -> None:
    site = activated.site
    record = site.records.request(DeploymentRequest(app="shop", trigger=Trigger.MANUAL, seconds=60)).deployment
    path = site.config.settings.log_path("shop", record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("secret")
    shut = path if closed == "file" else path.parent
    before, mode = len(activated.log.read_text()), shut.stat().st_mode
    shut.chmod(0)
    status, answer = activated.ask("GET", f"/deployments/{record}/log", Authorization=f"Bearer {TOKEN}")
    shut.chmod(mode)
    assert status == 404
    assert f"on the server: hookd logs {record}" in answer.decode()
    assert "Traceback" not in activated.log.read_text()[before:]
    status, answer = activated.ask("GET", f"/deployments/{record}/log", Authorization=f"Bearer {TOKEN}")
    assert (status, answer) == (200, b"secret")


@pytest.mark.threat(9)
def test_tcp_peer_is_logged(tmp_path: Path) -> None:
    with Installation(tmp_path) as site:
        site.add_app("shop")
        site.start_redis()
        site.start_receiver()
        body = push_body("shop")
        headers = {**headers_of("gitea", b"other"), "X-Forwarded-For": "203.0.113.9"}
        assert site.post("/hooks/shop", body, headers)[0] == 401
        wait_for(lambda: "refused signature" in (tmp_path / "receiver.log").read_text(), what="the line")
        assert "203.0.113.9" not in (tmp_path / "receiver.log").read_text()
        lines = (tmp_path / "receiver.log").read_text().split("\n")
        assert "WARNING hookd.receiver.app refused signature app=shop client=127.0.0.1 check=wrong signature" in lines
