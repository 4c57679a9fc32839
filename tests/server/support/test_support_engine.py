"""The Docker Engine of other tests builds, runs, and publishes without a registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server.engine import Engine, docker_engine
from tests.support.server.stand_ins import DEBIAN
from tests.support.server.web import ask

_DOCKERFILE = """\
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -y -q --no-install-recommends systemd systemd-sysv busybox
COPY page /srv/page
"""
_COMPOSE = """\
services:
  web:
    build: .
    command: ["busybox", "httpd", "-f", "-p", "8000", "-h", "/srv"]
    ports: ["127.0.0.1:8080:8000"]
    read_only: true
    cap_drop: [ALL]
    depends_on: {server: {condition: service_healthy}}
    healthcheck: {test: ["CMD", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8000/page"], interval: 1s}
  server:
    build: .
    command: ["/sbin/init"]
    stop_signal: SIGRTMIN+3
    privileged: true
    cgroup: private
    tmpfs: ["/run", "/run/lock", "/tmp"]
    volumes: ["kept:/var/kept"]
    healthcheck: {test: ["CMD", "systemctl", "is-system-running", "--wait"], interval: 1s}
volumes: {kept: {}}
"""


@pytest.fixture(scope="module")
def engine(can_boot_servers: None) -> Iterator[Engine]:
    """An engine with one base image."""
    with docker_engine((DEBIAN,)) as engine:
        yield engine


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    """A project of two services: a web server, and a Debian with systemd as its first process."""
    for name, text in {"Dockerfile": _DOCKERFILE, "docker-compose.yml": _COMPOSE, "page": "a page"}.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    engine.compose(tmp_path, "down", "--volumes")


def test_project_is_built_and_removed(engine: Engine, project: Path) -> None:
    engine.compose(project, "up", "--detach", "--wait")
    assert ask(engine, "localhost", "/page", port=8080).text == "a page"
    engine.compose(project, "exec", "-T", "server", "systemctl", "is-active", "dbus.socket", "systemd-journald")
    first = engine.compose(project, "exec", "-T", "server", "cat", "/proc/1/comm").stdout
    assert first == "systemd\n"
    engine.compose(project, "down", "--volumes")
    assert engine.docker("ps", "--all", "--quiet").stdout == engine.docker("volume", "ls", "--quiet").stdout == ""


def test_failure_shows_the_output_of_docker(engine: Engine, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM debian:bookworm-slim\nRUN echo this went wrong && false\n")
    with pytest.raises(AssertionError, match="this went wrong"):
        engine.compose(project, "build", "web")
