"""docker-compose.yml in a real engine: build, start, push, and removal."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import Figures
from tests.support.processes import PROJECT, wait_for
from tests.support.repository import IDENTITY, Repository
from tests.support.server.engine import Engine, docker_engine
from tests.support.server.stand_ins import DEBIAN, PYTHON_AND_REDIS
from tests.support.server.web import ask

_IMAGES = (DEBIAN, PYTHON_AND_REDIS)
_PORT = 8080
_SECONDS = 60
# Capabilities of the server, explained in docs/compose.md. The other containers have none.
_CAPABILITIES = {
    *("SYS_ADMIN", "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID"),
    *("KILL", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_PTRACE"),
}
_VOLUMES = {
    "redis": {"/etc/hookd": "config", "/var/lib/hookd-redis": "queue", "/run/hookd-redis": "redis-socket"},
    "receiver": {
        "/var/log/hookd": "logs",
        "/run/hookd-redis": "redis-socket",
        "/run/hookd": "receiver-socket",
    },
    "server": {
        "/etc/hookd": "config",
        "/var/lib/hookd-redis": "queue",
        "/run/hookd-redis": "redis-socket",
        "/run/hookd-receiver": "receiver-socket",
        "/var/lib/hookd": "state",
        "/var/lib/hookd-setup": "set-up",
        "/var/log/hookd": "logs",
        "/srv": "srv",
    },
}


class Shop(Repository):
    """A developer's clone of the sample repository, with pushes through the published port."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self.work = directory / "shop"
        engine.show(directory)
        engine.run("git", "clone", "-q", "git://127.0.0.1/sample/shop", str(self.work))

    def git(self, *arguments: str) -> str:
        """Run git in the clone and return what it printed."""
        variables = (f"{name}={value}" for name, value in IDENTITY.items())
        return self._engine.run("env", *variables, "git", *arguments, directory=str(self.work)).stdout

    def change(self, old: str, new: str) -> str:
        """Replace a text in the app, push it, and return the commit."""
        program = (self.work / "wsgi.py").read_text()
        assert old in program
        return self.commit_and_push({"wsgi.py": program.replace(old, new)})


@pytest.fixture(scope="module")
def engine(can_boot_servers: None, figures: Figures) -> Iterator[Engine]:
    """An engine that runs docker-compose.yml."""
    start = time.monotonic()
    with docker_engine(_IMAGES) as engine:
        started = time.monotonic()
        engine.compose(PROJECT, "build", "--quiet")
        built = time.monotonic()
        _up(engine)
        up = time.monotonic()
        figures.note(
            f"docker compose: engine {started - start:.0f} s, build {built - started:.0f} s, up {up - built:.0f} s"
        )
        yield engine


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Shop:
    """A fresh clone of the sample repository."""
    return Shop(engine, tmp_path)


@pytest.mark.promise(43)
def test_push_goes_live(engine: Engine, shop: Shop, figures: Figures) -> None:
    start = time.monotonic()
    commit = shop.change("the first commit", "a push")
    wait_for(lambda: "Hello from a push" in _page(engine), _SECONDS, "the new page")
    figures.note(f"docker compose: live {time.monotonic() - start:.1f} s after the push began")
    wait_for(lambda: _last(engine)["ended_at"], _SECONDS, "the ending")
    last = _last(engine)
    assert (last["trigger"], last["status"], last["commit"]) == ("push", "succeeded", commit)
    assert ask(engine, "deploy.localhost", f"/deployments/{last['id']}", port=_PORT).json["status"] == "succeeded"


def test_bad_release_is_rolled_back(engine: Engine, shop: Shop) -> None:
    before = _greeting(engine)
    greetings = set()

    def has_ended() -> bool:
        greetings.add(_greeting(engine))
        return _last(engine)["commit"] == commit and _last(engine)["ended_at"] is not None

    commit = shop.change('"200 OK"', '"500 Broken"')
    wait_for(has_ended, _SECONDS, "the ending")
    assert _last(engine)["status"] == "rolled_back"
    assert greetings == {before}


@pytest.mark.threat(79)
def test_ports_are_published_locally(engine: Engine) -> None:
    published = {
        (service, inside, place["HostIp"], place["HostPort"])
        for service, container in _containers(engine).items()
        for inside, places in container["NetworkSettings"]["Ports"].items()
        for place in places or ()
    }
    assert published == {("server", "80/tcp", "127.0.0.1", "8080"), ("server", "9418/tcp", "127.0.0.1", "9418")}


@pytest.mark.threat(79)
@pytest.mark.parametrize("service", ["redis", "receiver"])
def test_redis_and_receiver_have_no_rights(engine: Engine, service: str) -> None:
    host = _containers(engine)[service]["HostConfig"]
    assert (host["ReadonlyRootfs"], host["NetworkMode"], host["CapAdd"]) == (True, "none", None)
    assert host["CapDrop"] == ["ALL"]
    status = _inside(engine, service, "cat", "/proc/self/status").split("\n")
    found = dict(line.split(":\t", 1) for line in status if line.startswith(("Uid", "Cap", "NoNewPrivs")))
    assert found.pop("NoNewPrivs") == "1"
    assert "0" not in found.pop("Uid").split()
    assert {int(value, 16) for value in found.values()} == {0}


@pytest.mark.threat(79)
def test_capabilities_are_documented(engine: Engine) -> None:
    host = _containers(engine)["server"]["HostConfig"]
    assert not host["Privileged"]
    page = (PROJECT / "docs" / "compose.md").read_text()
    added = {name.removeprefix("CAP_") for name in host["CapAdd"]}
    assert (added, host["CapDrop"], host["SecurityOpt"]) == (_CAPABILITIES, ["ALL"], ["apparmor=unconfined"])
    assert {name for name in added | set(host["SecurityOpt"]) if f"`{name}`" not in page} == set()


def test_containers_use_named_volumes_only(engine: Engine) -> None:
    found = {
        service: {one["Destination"]: (one["Type"], one.get("Name")) for one in container["Mounts"]}
        for service, container in _containers(engine).items()
    }
    wanted = {
        service: {place: ("volume", f"hookd_{name}") for place, name in places.items()}
        for service, places in _VOLUMES.items()
    }
    assert found == wanted


@pytest.mark.parametrize("service", ["redis", "receiver", "server"])
def test_each_container_is_healthy(engine: Engine, service: str) -> None:
    container = _containers(engine)[service]
    check = container["Config"]["Healthcheck"]
    assert check["Test"][0] in ("CMD", "CMD-SHELL") and len(check["Test"]) > 1
    assert min(check["Interval"], check["Timeout"]) > 0
    assert container["State"]["Health"]["Status"] == "healthy"


def test_receiver_without_redis_is_unhealthy(engine: Engine) -> None:
    """Fail the health check on which `--wait` depends."""
    engine.compose(PROJECT, "pause", "redis")
    check = engine.compose(PROJECT, "exec", "-T", "receiver", "healthy", check=False)
    engine.compose(PROJECT, "unpause", "redis")
    assert check.returncode != 0
    assert engine.compose(PROJECT, "exec", "-T", "receiver", "healthy").returncode == 0


@pytest.mark.threat(79)
def test_secrets_reach_only_their_readers(engine: Engine) -> None:
    secrets = r"find / -xdev -path /etc/hookd -o -name host_key -o -name ssh_host_\*_key"
    assert engine.docker("run", "--rm", "hookd-server", "sh", "-c", secrets).stdout == ""
    given = _inside(engine, "receiver", "ls", "/run/hookd/current/credentials").split()
    assert given == ["redis_receiver", "redis_status", "secrets_shop", "token"]
    for path in ("redis/operator", "secrets/shop", "token"):
        read = engine.compose(PROJECT, "exec", "-T", "redis", "cat", f"/etc/hookd/{path}", check=False)
        assert "Permission denied" in read.stderr


def test_recreated_system_keeps_its_state(engine: Engine) -> None:
    greeting, deployments = _greeting(engine), _deployments(engine)
    _up(engine, "--force-recreate")
    assert _greeting(engine) == greeting
    assert _deployments(engine) == deployments
    # The machine's clock may cause a warning.
    lines = engine.compose(PROJECT, "exec", "-T", "server", "hookd", "doctor", check=False).stdout.splitlines()
    assert "hookd: server: " in lines[0]
    assert [line for line in lines if line.startswith(("error", "unknown"))] == []


def test_failed_build_shows_its_output(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm-slim\nRUN echo this went wrong && false\n")
    (tmp_path / "docker-compose.yml").write_text("services: {web: {build: .}}\n")
    with pytest.raises(AssertionError, match="this went wrong"):
        engine.compose(tmp_path, "build", "web")


def test_down_leaves_nothing(engine: Engine) -> None:
    engine.compose(PROJECT, "down", "--volumes")
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
    assert engine.docker("volume", "ls", "--quiet").stdout == ""
    assert engine.docker("network", "ls", "--quiet", "--filter", "type=custom").stdout == ""


def _up(engine: Engine, *options: str) -> None:
    try:
        engine.compose(PROJECT, "up", "--detach", "--wait", *options)
    except AssertionError as failure:
        failure.add_note(engine.compose(PROJECT, "logs", "--tail", "40", "--no-color", check=False).stdout)
        raise


def _page(engine: Engine) -> str:
    return ask(engine, "127.0.0.1", port=_PORT).text


def _greeting(engine: Engine) -> str:
    return _page(engine).partition("<h1>")[2].partition("</h1>")[0]


def _deployments(engine: Engine) -> list[dict[str, Any]]:
    time.sleep(0.2)  # nginx limits requests.
    deployments: list[dict[str, Any]] = ask(engine, "deploy.localhost", "/apps/shop", port=_PORT).json["deployments"]
    return deployments


def _last(engine: Engine) -> dict[str, Any]:
    return _deployments(engine)[0]


def _inside(engine: Engine, service: str, *argv: str) -> str:
    return engine.compose(PROJECT, "exec", "-T", service, *argv).stdout


def _containers(engine: Engine) -> dict[str, Any]:
    ids = engine.compose(PROJECT, "ps", "--quiet").stdout.split()
    found = json.loads(engine.docker("inspect", *ids).stdout)
    return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}
