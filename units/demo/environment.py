"""Writes everything the demo needs into one directory: configuration, secret, repository with its hook, services."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hookd.model.journal import Colour
from units.render.circus import CircusApp, CircusConfig, CircusProgram

APP: Final = "shop"
FILES: Final = Path(__file__).parent / "app"
COLOURS: Final[tuple[Colour, ...]] = ("blue", "green")
# So soon a push is found that nobody told hookd of; three minutes would be long for who only looks.
RECONCILE_SECONDS: Final = 20
_IDENTITY: Final = ("-c", "user.name=You", "-c", "user.email=you@example.org")


@dataclass(frozen=True)
class DemoEnvironment:
    """The demo's directory and its two ports."""

    directory: Path
    app_port: int
    hook_port: int

    @property
    def config(self) -> Path:
        """The demo's hookd.toml."""
        return self.directory / "hookd.toml"

    @property
    def work(self) -> Path:
        """Where a person edits and commits."""
        return self.directory / "work"

    @property
    def remote(self) -> Path:
        """The repository that is pushed to, with the hook that tells hookd."""
        return self.directory / "shop.git"

    @property
    def environment_file(self) -> Path:
        """What another terminal reads to get `hookd` and `rq` for this demo."""
        return self.directory / "state" / "rq.env"

    @property
    def manager_config(self) -> Path:
        """The process manager's file."""
        return self.directory / "circus.ini"

    @property
    def manager_socket(self) -> Path:
        """Where the process manager takes commands."""
        return self.directory / "circus.sock"

    @property
    def app_url(self) -> str:
        """Where the app answers."""
        return f"http://127.0.0.1:{self.app_port}/"

    @property
    def hookd_url(self) -> str:
        """Where the receiver answers."""
        return f"http://127.0.0.1:{self.hook_port}"


def create_environment(directory: Path) -> DemoEnvironment:
    """Fill a directory."""
    place = DemoEnvironment(directory, _free_port(), _free_port())
    (directory / "srv" / APP).mkdir(parents=True)
    _write_config(place)
    place.manager_config.write_text(_services(place))
    _make_repositories(place)
    return place


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_config(place: DemoEnvironment) -> None:
    directory = place.directory
    (directory / "apps").mkdir()
    (directory / "secrets").mkdir(mode=0o700)
    (directory / "secrets" / APP).write_text(secrets.token_hex(32) + "\n")
    place.config.write_text(f"""\
state = "{directory}/state"

[redis]
url = "unix://{directory}/redis.sock"

[receiver]
bind = "127.0.0.1:{place.hook_port}"
public_url = "{place.hookd_url}"
secrets = "{directory}/secrets"
public_status = true

[worker]
git_protocols = ["file"]
""")
    (directory / "apps" / f"{APP}.toml").write_text(f"""\
repository = "file://{place.remote}"
full_name = "demo/shop"
sender = "gitea"
root = "{directory}/srv/{APP}"

[ownership]
policy = "split"

[service]
manager = "circus"
endpoint = "ipc://{place.manager_socket}"
handover = "blue-green"

[health]
url = "unix:{directory}/{APP}-{{colour}}.sock:/healthz"
deadline = 20

[reconcile]
every = {RECONCILE_SECONDS}

[limits]
free_mib = 100
free_inodes = 1000
""")


def _services(place: DemoEnvironment) -> str:
    """The process manager's file: Redis, receiver, worker, and the app twice, on one socket that outlives them."""
    hookd = f"{sys.executable} -P -m hookd.cli"
    programs = (
        CircusProgram("redis", f"{hookd} redis"),
        CircusProgram("receiver", f"{hookd} serve"),
        CircusProgram("worker", f"{hookd} worker --name demo"),
    )
    shop = CircusApp(APP, place.directory / "srv" / APP, place.app_port, COLOURS)
    return CircusConfig(place.directory, (shop,), programs, {"HOOKD_CONFIG": str(place.config)}).ini


def _make_repositories(place: DemoEnvironment) -> None:
    git(place.directory, "init", "--quiet", "--bare", "--initial-branch=main", str(place.remote))
    hook = place.remote / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\n# Tells hookd about each push, signed as Gitea signs it.\n"
        f"exec '{sys.executable}' -P -m hookd.cli --config '{place.config}' send {APP} --post-receive\n"
    )
    hook.chmod(0o755)
    git(place.directory, "init", "--quiet", "--initial-branch=main", str(place.work))
    git(place.work, "remote", "add", "origin", str(place.remote))


def commit_and_push(place: DemoEnvironment, version: str, message: str) -> str:
    """Do what a person does: change files, commit, push. Returns what git and the hook printed."""
    for file in sorted((FILES / version).iterdir()):
        shutil.copyfile(file, place.work / file.name)
    git(place.work, "add", "--all")
    git(place.work, "commit", "--quiet", "--message", message)
    return git(place.work, "push", "--quiet", "origin", "main")


def git(directory: Path, *arguments: str) -> str:
    """Run git as the person at the demo; nobody's own git settings take part."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", *_IDENTITY, *arguments]
    done = subprocess.run(
        argv, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]} failed: {done.stdout.strip()}")
    return done.stdout
