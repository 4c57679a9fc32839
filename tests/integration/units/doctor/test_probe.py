"""The git host asked as a deployment would ask it: real git, real repositories, and a host that says nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import merged, toml
from tests.support.processes import PROJECT
from tests.support.repository import Repository

APP = {"full_name": "acme/shop", "root": "/srv/shop", "health": {"url": "http://127.0.0.1:8000/healthz"}}


class Host:
    """A configuration with one app, and the program that asks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.repository = Repository(directory / "repository")
        self.commit = self.repository.commit_and_push({"wsgi.py": "one"})
        settings = {"state": directory / "state", "worker": {"git_protocols": ["file", "ssh", "http", "https"]}}
        (directory / "hookd.toml").write_text(toml(settings))
        (directory / "apps").mkdir()
        self.write()

    def write(self, **over: Any) -> None:
        """Write the app's file."""
        table = merged({**APP, "repository": self.repository.url}, over)
        (self.directory / "apps" / "shop.toml").write_text(toml(table))

    def ask(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run the program as the worker's user would."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "worker.probe", *(arguments or ("shop",))],
            env={
                "PATH": os.environ["PATH"],
                **more,
                "HOOKD_CONFIG": f"{self.directory}/hookd.toml",
                "PYTHONPATH": str(PROJECT),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("probe"))


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that accepts and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/acme/shop.git"


def test_the_head_is_printed_and_nothing_is_written(host: Host) -> None:
    host.write()
    done = host.ask()
    assert (done.returncode, done.stdout) == (0, f"{host.commit}\n"), done.stdout
    assert not (host.directory / "state").exists()


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"branch": "other"}, "has no branch other"),
        ({"repository": "file:///nowhere/shop.git"}, "file:///nowhere/shop.git cannot be read: fatal: "),
        ({"repository": "git@localhost.invalid:acme/shop.git"}, "cannot be read: ssh: Could not resolve hostname"),
        ({"branch": "-x"}, "the configuration cannot be used"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(host: Host, over: dict[str, str], told: str) -> None:
    host.write(**over)
    done = host.ask()
    assert done.returncode == 1
    assert told in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.threat(80)
def test_a_branch_whose_name_only_ends_so_is_not_taken_for_the_app_s(host: Host) -> None:
    """git lists it, too, and before the app's own."""
    host.write()
    host.repository.commit({"wsgi.py": "a stranger's"})
    host.repository.push("a/refs/heads/main")
    assert host.ask().stdout == f"{host.commit}\n"
    host.write(branch="heads/main")
    host.repository.push("refs/heads/heads/main")
    assert "has no branch heads/main" in host.ask().stdout


@pytest.mark.threat(21)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_s_password_is_not_told(host: Host, variable: str) -> None:
    host.write(repository="https://localhost.invalid/acme/shop.git")
    for password in ("can#ary", "can/ary", "canary"):
        told = host.ask(**{variable: f"http://ada:{password}@127.0.0.1:9"}).stdout
        assert "cannot be read: " in told
        assert "can" not in told.replace("cannot", ""), told


def test_an_app_that_is_not_there(host: Host) -> None:
    assert host.ask("other").stdout == "there is no app 'other' in the catalogue\n"


def test_a_host_that_says_nothing_is_left_when_the_time_is_up(host: Host, silent: str) -> None:
    host.write(repository=silent)
    done = host.ask("shop", "0.5")
    assert (done.returncode, "0.5 s and was stopped" in done.stdout) == (1, True), done.stdout
