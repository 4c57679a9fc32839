"""A server that runs an app: installed, set up, `shop` added and deployed with hookd's own commands."""

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.server.image import RARELY
from tests.support.server.machine import Machine
from tests.support.server.servers import Layer, Servers
from tests.support.server.sshgit import NAME, GitHost, ServedRepository, git_host
from tests.support.server.web import ask, push

RECEIVER_DOMAIN = "deploy.example.org"
CHECKOUT = "/root/hookd"
_SECONDS = 90
_PAUSE = 0.25
_REDIS = """/opt/hookd/current/venv/bin/python -Pc "
import sys, redis
client = redis.Redis(unix_socket_path='/run/hookd-redis/redis.sock', username='hookd-operator', password=sys.argv[1])
print(client.execute_command(*sys.argv[2:]))
" "$(cat /etc/hookd/redis/operator)" {command}
"""
_GOOD = '''\
"""The shop: answers with its version."""

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{version}"]
'''
BROKEN = {
    "does not import": "raise RuntimeError('broken at import')\n",
    "answers 500": 'def app(environ, start_response):\n    start_response("500 No", [])\n    return [b"broken"]\n',
    "hangs": "import time\n\ndef app(environ, start_response):\n    time.sleep(3600)\n",
    "exits after ready": """\
import os, threading

def app(environ, start_response):
    threading.Timer(0.2, os.kill, (os.getppid(), 9)).start()
    start_response("200 OK", [("Content-Length", "6")])
    return [b"broken"]
""",
}


def good(version: str, files: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the files of a commit whose page is its version, with additional `files`."""
    return {"wsgi.py": _GOOD.replace("{version}", version), "requirements.txt": "gunicorn\n", **(files or {})}


def install(machine: Machine) -> None:
    """Run `./run install` in a copy of the checkout."""
    machine.copy_checkout(CHECKOUT)
    machine.shell("./run install", directory=CHECKOUT)


def set_up(machine: Machine) -> None:
    """Set up a host where hookd is installed, with a git host on it."""
    machine.shell(f"hookd setup --domain {RECEIVER_DOMAIN}")
    settings = "".join(f"{name}={value}\n" for name, value in machine.settings.items())
    machine.write("/etc/hookd/worker.env", settings, 0o600)
    machine.run("systemctl", "restart", "hookd-worker@1.service", "hookd-worker@2.service")
    git_host(machine)


@dataclass
class Shop:
    """An app on a server, with the commands of its operator."""

    machine: Machine
    name: str = "shop"

    @property
    def domain(self) -> str:
        """The app's public domain."""
        return f"{self.name}.example.org"

    @property
    def host(self) -> GitHost:
        """The git host."""
        return git_host(self.machine)

    @property
    def repository(self) -> ServedRepository:
        """The repository of the app's commits."""
        return self.host.repository(f"acme/{self.name}")

    @property
    def secret(self) -> str:
        """The newest webhook secret, read from its file, because `hookd secret show` takes half a second."""
        return self.machine.read(f"/etc/hookd/secrets/{self.name}").split()[-1]

    def hookd(self, *arguments: str) -> str:
        """Run a hookd command as root, and fail the test on an error. Wait for the retry of a failed deployment."""
        printed = self.machine.run("hookd", *arguments).stdout
        if retry := re.search(r"it is tried again: (\S+)", printed):
            self.ending(retry[1])
        return printed

    def add(self, *options: str) -> str:
        """Add the app as the README says, with its key pasted, and deploy its first version."""
        self.commit("v1")
        command = ("app", "add", self.name, "--repo", self.repository.url, "--domain", self.domain)
        self.allow_reading()
        return self.hookd(*command, "--health", "/healthz", *options)

    def allow_reading(self) -> None:
        """Paste the key that the first try asks for."""
        asked = self.machine.run("hookd", "app", "add", self.name, "--repo", self.repository.url, check=False)
        self.paste_key(asked.stdout)

    def paste_key(self, printed: str) -> None:
        """Register the printed deploy key at the git host."""
        key = re.search(r"deploy key +(ssh-ed25519 \S+ .*?) +\(read only\)", printed)
        assert key, printed
        self.host.allow_reading(key[1], f"acme/{self.name}")

    def commit(self, version: str, files: Mapping[str, str] | None = None) -> str:
        """Push a commit, whose page is its version, to the git host without a delivery."""
        return self.repository.commit_and_push(good(version, files), version)

    def deliver(self, commit: str, **changes: Any) -> str:
        """Send the signed push of a commit through nginx, and return the deployment that answers it."""
        sender = "gitea" if NAME in self.repository.url else "github"
        answer = push(self.machine, RECEIVER_DOMAIN, self.name, self.secret, sender=sender, after=commit, **changes)
        assert answer.status == 202, answer
        return str(answer.json["deployment"])

    def push(self, version: str, files: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Commit, push, deliver, wait for the ending, and return the deployment's record."""
        return self.ship(self.commit(version, files))

    def ship(self, commit: str, seconds: float = _SECONDS) -> dict[str, Any]:
        """Deliver the push of a new commit, and return the record of the deployment that has taken it.

        After an edit the reconciler asks for the head at once, and may come first.
        """
        record = self.ending(self.deliver(commit), seconds)
        if record["status"] != "unchanged":
            return record
        others = (one for one in self.status()["deployments"] if one["commit"] == commit)
        return next((one for one in others if one["status"] != "unchanged"), record)

    def record(self, deployment: str) -> dict[str, Any]:
        """Return a deployment's record."""
        return self._status_page(f"/deployments/{deployment}")

    def status(self) -> dict[str, Any]:
        """Return the app's status and its last deployments. `hookd status` takes longer, because Python starts."""
        return self._status_page(f"/apps/{self.name}")

    def _status_page(self, path: str) -> dict[str, Any]:
        """Ask the receiver over HTTP with the token."""
        token = self.machine.read("/etc/hookd/token").strip()
        answer = ask(self.machine, RECEIVER_DOMAIN, path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status == 200, answer
        return answer.json

    def ending(self, deployment: str, seconds: float = _SECONDS) -> dict[str, Any]:
        """Wait for a deployment to end and return its record. Ask slowly, because nginx limits requests."""
        end = time.monotonic() + seconds
        while (record := self.record(deployment))["status"] in ("queued", "running"):
            assert time.monotonic() < end, f"{record}\n{self.machine.journal('hookd-worker@*')[-6000:]}"
            time.sleep(_PAUSE)
        return record

    def reconcile(self) -> None:
        """Reconcile the app now, before its next turn."""
        self.redis("DEL", f"hookd:polled:{self.name}")
        self.machine.run("systemctl", "start", "hookd-reconcile.service")

    def reconcile_often(self) -> None:
        """Let the timer reconcile twice a minute, as on a server of hookd's users."""
        self.machine.run("rm", RARELY)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "restart", "hookd-reconcile.timer")

    def redis(self, *command: str) -> str:
        """Send a command to Redis as the operator."""
        return self.machine.shell(_REDIS.format(command=shlex.join(command))).strip()

    def page(self, path: str = "/") -> str:
        """Return the page that a visitor gets, or its error status."""
        answer = ask(self.machine, self.domain, path)
        return answer.text if answer.status == 200 else f"{answer.status}"


def installed_layer(servers: Servers, suite: str = "bookworm") -> Layer:
    """Return the disk of a server with hookd's code."""
    return servers.layer(f"installed {suite}", install, suite=suite)


def set_up_layer(servers: Servers, suite: str = "bookworm") -> Layer:
    """Return the disk of a set-up server without an app."""
    return servers.layer(f"set up {suite}", set_up, on=installed_layer(servers, suite))


def shop_layer(servers: Servers, handover: str = "blue-green", suite: str = "bookworm") -> Layer:
    """Return the disk of a server with a deployed app."""

    def add(machine: Machine) -> None:
        Shop(machine).add("--handover", handover, "--data", "uploads", "--file", ".env")

    return servers.layer(f"shop {handover} {suite}", add, on=set_up_layer(servers, suite))
