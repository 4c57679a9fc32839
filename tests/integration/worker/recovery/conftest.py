"""A hookd whose deployments hang, for the tests of recovery."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.hanging import hanging
from tests.support.installation import Installation


@pytest.fixture
def hookd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    with hanging(tmp_path, "shop", "blog") as installation:
        monkeypatch.setenv("HOOKD_CONFIG", str(installation.config_path))
        yield installation


@pytest.fixture
def client(hookd: Installation) -> Iterator[Redis]:
    with Redis.from_url(hookd.redis_url, socket_timeout=5) as found:
        yield found
