"""The probe program with real git, real repositories, and a silent host."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import PROJECT
from tests.support.repository import Repository
from tests.support.toml_tables import merged, toml

APP = {"full_name": "acme/shop", "root": "/srv/shop", "health": {"url": "http://127.0.0.1:8000/healthz"}}


class Host:
    """A configuration with one app, and its probe."""

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
        """Run the probe."""
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
    """A host that accepts connections and sends nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/acme/shop.git"


def test_probe_prints_head_only(host: Host) -> None:
    host.write()
    done = host.ask()
    assert (done.returncode, done.stdout) == (0, f"{host.commit}\n"), done.stdout
    assert not (host.directory / "state").exists()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"branch": "other"}, "has no branch other"),
        ({"repository": "file:///nowhere/shop.git"}, "file:///nowhere/shop.git cannot be read: fatal: "),
        ({"repository": "git@localhost.invalid:acme/shop.git"}, "cannot be read: ssh: Could not resolve hostname"),
        ({"branch": "-x"}, "the configuration cannot be used"),
    ],
)
def test_error_is_one_line(host: Host, over: dict[str, str], message: str) -> None:
    host.write(**over)
    done = host.ask()
    assert done.returncode == 1
    assert message in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.threat(80)
def test_longer_branch_name_is_ignored(host: Host) -> None:
    """git lists it before the app's own branch."""
    host.write()
    host.repository.commit({"wsgi.py": "a stranger's"})
    host.repository.push("a/refs/heads/main")
    assert host.ask().stdout == f"{host.commit}\n"
    host.write(branch="heads/main")
    host.repository.push("refs/heads/heads/main")
    assert "has no branch heads/main" in host.ask().stdout


@pytest.mark.threat(21)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_proxy_password_is_not_shown(host: Host, variable: str) -> None:
    host.write(repository="https://localhost.invalid/acme/shop.git")
    for password in ("can#ary", "can/ary", "canary"):
        message = host.ask(**{variable: f"http://ada:{password}@127.0.0.1:9"}).stdout
        assert "cannot be read: " in message
        assert "can" not in message.replace("cannot", ""), message


def test_unknown_app(host: Host) -> None:
    assert host.ask("other").stdout == "there is no app 'other' in the catalogue\n"


def test_silent_host_times_out(host: Host, silent: str) -> None:
    host.write(repository=silent)
    done = host.ask("shop", "0.5")
    assert (done.returncode, "0.5 s and was stopped" in done.stdout) == (1, True), done.stdout
