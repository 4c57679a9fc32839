"""A real nginx with the rendered sites, moved to ports and directories of a test's own."""

import http.client
import http.server
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hookd.model.app import App
from tests.support.processes import free_port, running, wait_for
from tests.support.programs import program, run
from tests.support.rendered import files
from units.system.facts import Host

_MAIN = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{ }}
http {{
    access_log off; client_body_temp_path tmp; proxy_temp_path tmp;
    fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    include {directory}/sites/*;
}}
"""


@dataclass(frozen=True)
class Sites:
    """nginx's files below a directory. `port` replaces port 80 of the sites, `tls_port` port 443."""

    directory: Path
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)

    def write(self, host: Host, *apps: App) -> None:
        """Write the sites of a host."""
        for name in ("sites", "tmp", "acme", "certificates"):
            (self.directory / name).mkdir(exist_ok=True)
        (self.directory / "nginx.conf").write_text(_MAIN.format(directory=self.directory))
        for path, file in files(host, *apps).items():
            if path.parent == Path("/etc/nginx/sites-available"):
                (self.directory / "sites" / path.name).write_text(self._moved(file.text))

    def _moved(self, text: str) -> str:
        places = {
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "listen [::]:80;": "",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.tls_port} ssl;",
            "listen [::]:443 ssl;": "",
            "/run/": f"{self.directory}/",
            "/srv/": f"{self.directory}/srv/",
            "/etc/hookd/sites/": f"{self.directory}/own/",
            "/var/www/hookd-acme": f"{self.directory}/acme",
            "/etc/letsencrypt/live": f"{self.directory}/certificates",
        }
        for old, new in places.items():
            text = text.replace(old, new)
        return text

    def check(self) -> str:
        """Return the output of `nginx -t`, which is empty without problems."""
        nginx = program("nginx", "nginx-light")
        done = run(nginx, "-t", "-q", "-p", str(self.directory), "-c", "nginx.conf")
        return done.stdout if done.returncode == 0 else f"{done.returncode}: {done.stdout}"

    def printed(self) -> str:
        """Return the output of `nginx -T`: all configuration in use."""
        return run(program("nginx", "nginx-light"), "-T", "-q", "-p", str(self.directory), "-c", "nginx.conf").stdout

    @contextmanager
    def served(self) -> Iterator[None]:
        """Run nginx for as long as the block."""
        nginx = program("nginx", "nginx-light")
        argv = [nginx, "-p", str(self.directory), "-c", "nginx.conf"]
        with running(argv, self.directory / "nginx.log", cwd=self.directory):
            wait_for(self._listens, what="nginx")
            yield

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(
        self, method: str, path: str, host: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        """Send one request and return status, text and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace"), response.headers
        finally:
            connection.close()


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked: method, path, length of the body, and headers."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lines = [
            f"{self.command} {self.path} {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        text = "\n".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def address_string(self) -> str:
        """Return an empty address, because a peer on a unix socket has none."""
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        """Discard log lines."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def echo(path: Path) -> Iterator[None]:
    """Answer on a unix socket for as long as the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Server(str(path), _Echo) as server:
        os.chmod(path, 0o666)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
