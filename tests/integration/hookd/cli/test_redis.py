"""`hookd redis`, and the commands without a Redis."""

from pathlib import Path

import pytest

from tests.support.installation import Installation
from tests.support.processes import accepts, python, running, wait_for
from tests.support.typed import hookd


@pytest.mark.promise(57)
def test_redis_away_exits_6(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.add_app("shop")
    for command in ("status", "deploy"):
        done = hookd(installation, command, *(["shop"] if command == "deploy" else []))
        assert done.returncode == 6
        assert "Redis does not answer at unix://" in done.stderr
        assert done.stderr.endswith("  next: hookd redis\n")


def test_server_hints_name_systemd(tmp_path: Path) -> None:
    """There Redis asks for passwords, and systemd runs it, the receiver and the workers."""
    installation = Installation(tmp_path)
    installation.add_app("shop")
    installation.write_config()
    (tmp_path / "passwords").mkdir()
    for role in ("receiver", "status", "worker", "operator"):
        (tmp_path / "passwords" / role).write_text("a password\n")
    config = installation.config_path
    config.write_text(config.read_text().replace("[redis]\n", f'[redis]\npasswords = "{tmp_path}/passwords"\n'))
    away = hookd(installation, "status")
    assert (away.returncode, away.stderr.splitlines()[-1]) == (6, "  next: sudo systemctl restart hookd-redis.service")
    refused = hookd(installation, "redis")
    assert refused.returncode == 2
    assert "the embedded server has no passwords" in refused.stderr and "hookd-redis.service" in refused.stderr


def test_embedded_redis_runs(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.redis_url = f"unix://{tmp_path}/own.sock?db=0"
    installation.write_config()
    with running(python("-m", "hookd.cli", "redis"), tmp_path / "redis.log", installation.environment):
        wait_for((tmp_path / "state" / "redis" / "appendonlydir").is_dir, what="the directory of accepted pushes")
        wait_for(lambda: accepts(tmp_path / "own.sock"), what="Redis")
        assert hookd(installation, "status").returncode == 0


def test_remote_redis_is_not_started(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.redis_url = "redis://redis.example.org:6379/0"
    installation.write_config()
    done = hookd(installation, "redis")
    assert done.returncode == 2
    assert "the embedded server listens on a unix socket or on 127.0.0.1" in done.stderr
