"""A git host over ssh that can be down, silent, slow, unstable or refusing."""

import getpass
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

from tests.support.processes import free_port, running, wait_for
from tests.support.programs import program, run

_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/allowed
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
"""


class Wire:
    """The connection between the worker and the host, which a test can slow down or cut.

    `chunk` is the number of bytes per read, `pause` the seconds between reads, and `limit` the number of bytes from the
    host after which the connection breaks.
    """

    def __init__(self, to: int) -> None:
        self.port = free_port()
        self.chunk, self.pause, self.limit = 65536, 0.0, 2**30
        self.flows = threading.Event()
        self.flows.set()
        self._to = to
        self._server: socket.socket | None = None

    def open(self) -> None:
        """Accept connections."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        """Refuse connections."""
        assert self._server is not None
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._connect, args=(server.accept()[0],), daemon=True).start()

    def _connect(self, caller: socket.socket) -> None:
        with suppress(OSError), caller, socket.create_connection(("127.0.0.1", self._to)) as host:
            there = threading.Thread(target=self._carry, args=(caller, host, 2**30), daemon=True)
            there.start()
            self._carry(host, caller, self.limit)
            there.join()

    def _carry(self, source: socket.socket, target: socket.socket, left: int) -> None:
        with suppress(OSError):
            while left > 0 and (data := source.recv(self.chunk)):
                self.flows.wait()
                time.sleep(self.pause)
                target.sendall(data)
                left -= len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class GitHost:
    """A real ssh server that lets one key read one repository."""

    def __init__(self, directory: Path, bare: Path) -> None:
        self.key = directory / "key"
        self.known_hosts = directory / "known_hosts"
        self._directory = directory
        self._bare = bare
        self._port = free_port()
        self.wire = Wire(self._port)
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The worker's address of the repository."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.wire.port}{self._bare}"

    def __enter__(self) -> Self:
        self._directory.mkdir()
        sshd = program("sshd", "openssh-server")
        for key in (self.key, self._directory / "host"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        host_key = (self._directory / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.wire.port} {host_key}")
        self.allow()
        config = self._directory / "sshd_config"
        config.write_text(_CONFIG.format(port=self._port, directory=self._directory))
        if os.geteuid() == 0:  # sshd of root needs this directory, which its unit makes on a server.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(running([sshd, "-D", "-e", "-f", str(config)], self._directory / "sshd.log"))
            wait_for(self._listens, what="the ssh server")
            self.wire.open()
            stack.callback(self.wire.cut)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def allow(self) -> None:
        """Permit the key to read the repository only."""
        line = f'command="git-upload-pack {self._bare}",restrict {self.key.with_suffix(".pub").read_text()}'
        (self._directory / "allowed").write_text(line)

    def refuse(self) -> None:
        """Refuse every key."""
        (self._directory / "allowed").write_text("")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def down(host: GitHost) -> Iterator[None]:
    """Refuse connections."""
    host.wire.cut()
    yield
    host.wire.open()


@contextmanager
def silent(host: GitHost) -> Iterator[None]:
    """Accept connections without an answer."""
    host.wire.flows.clear()
    yield
    host.wire.flows.set()


@contextmanager
def endless(host: GitHost) -> Iterator[None]:
    """Send a byte from time to time, without an end."""
    host.wire.chunk, host.wire.pause = 1, 0.1
    yield
    host.wire.chunk, host.wire.pause = 65536, 0.0


@contextmanager
def unstable(host: GitHost) -> Iterator[None]:
    """Break each connection in the middle."""
    host.wire.limit = 2500
    yield
    host.wire.limit = 2**30


@contextmanager
def refusing(host: GitHost) -> Iterator[None]:
    """Refuse the key."""
    host.refuse()
    yield
    host.allow()
