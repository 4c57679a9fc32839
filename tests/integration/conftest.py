"""One Redis, one receiver or one whole hookd for each module of tests, which names its APPS or RECEIVER settings."""

from collections.abc import Iterator

import pytest
from redis import Redis

from hookd.queue.deployments import DeploymentStore
from tests.support.installation import Installation
from tests.support.order import start_first
from tests.support.receiver import LocalReceiver, run_receiver
from tests.support.redis_server import redis_server

# The longest files.
_EARLY = ("test_demo.py", "test_redis_acl.py", "test_rq_program.py", "test_load.py", "test_rq_worker.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave no core idle at the end."""
    start_first(items, _EARLY)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running hookd with the APPS of the module, under its SETTINGS, with as many WORKERS as it asks for."""
    module = request.module
    with Installation(tmp_path_factory.mktemp("site"), getattr(module, "SETTINGS", None)) as installation:
        for name, over in module.APPS.items():
            installation.add_app(name, **over)
        installation.start(getattr(module, "WORKERS", 1))
        yield installation


@pytest.fixture(scope="module")
def module_receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalReceiver]:
    """The receiver's application, with the RECEIVER settings of the module, and a Redis."""
    with run_receiver(tmp_path_factory.mktemp("receiver"), receiver=getattr(request.module, "RECEIVER", {})) as running:
        yield running


@pytest.fixture
def receiver(module_receiver: LocalReceiver) -> LocalReceiver:
    """The same, with a Redis that holds nothing."""
    module_receiver.redis.flushdb()
    return module_receiver


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server for the tests of a module."""
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def client(url: str) -> Iterator[Redis]:
    """A connection to that server, which is empty."""
    with Redis.from_url(url, socket_timeout=5) as found:
        found.flushall()
        yield found


@pytest.fixture
def records(client: Redis) -> DeploymentStore:
    """The deployments in that server."""
    return DeploymentStore(client, keep_seconds=3600)
