"""A server that runs an app, set up with the product's own commands: installed, set up, `shop` added and deployed."""

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
found = redis.Redis(unix_socket_path='/run/hookd-redis/redis.sock', username='hookd-operator', password=sys.argv[1])
print(found.execute_command(*sys.argv[2:]))
" "$(cat /etc/hookd/redis/operator)" {command}
"""
_GOOD = '''\
"""The shop: says its version, and that it is well."""

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
    start_response("200 OK", [])
    return [b"broken"]
""",
}


def good(version: str, files: Mapping[str, str] | None = None) -> dict[str, str]:
    """The files of a commit whose page says its version; `files` come on top."""
    return {"wsgi.py": _GOOD.replace("{version}", version), "requirements.txt": "gunicorn\n", **(files or {})}


def install(machine: Machine) -> None:
    """`./run install` in a copy of the checkout; then what a host behind a proxy must tell its worker."""
    machine.copy_checkout(CHECKOUT)
    machine.shell("./run install", directory=CHECKOUT)


def set_up(machine: Machine) -> None:
    """A host that is installed and set up, with a git host beside it."""
    install(machine)
    machine.shell(f"hookd setup --domain {RECEIVER_DOMAIN}")
    settings = "".join(f"{name}={value}\n" for name, value in machine.settings.items())
    machine.write("/etc/hookd/worker.env", settings, 0o600)
    machine.run("systemctl", "restart", "hookd-worker@1.service", "hookd-worker@2.service")
    git_host(machine)


@dataclass
class Shop:
    """An app on a server, as the person who looks after it sees it."""

    machine: Machine
    name: str = "shop"

    @property
    def domain(self) -> str:
        """What visitors type."""
        return f"{self.name}.example.org"

    @property
    def host(self) -> GitHost:
        """The git host."""
        return git_host(self.machine)

    @property
    def repository(self) -> ServedRepository:
        """Where the app's commits are pushed to."""
        return self.host.repository(f"acme/{self.name}")

    @property
    def secret(self) -> str:
        """The newest webhook secret, read at once: `hookd secret show` takes half a second, and each push needs it."""
        return self.machine.read(f"/etc/hookd/secrets/{self.name}").split()[-1]

    def hookd(self, *arguments: str) -> str:
        """Type a hookd command as root; fails the test when it fails."""
        return self.machine.run("hookd", *arguments).stdout

    def add(self, *options: str) -> str:
        """Add the app as the README says, paste its key, and deploy its first version."""
        self.commit("v1")
        printed = self.hookd("app", "add", self.name, "--repo", self.repository.url, "--domain", self.domain, *options)
        self.paste_key(printed)
        self.hookd("deploy", self.name)
        return printed

    def paste_key(self, printed: str) -> None:
        """Do what a person does with the deploy key that hookd printed."""
        key = re.search(r"deploy key +(ssh-ed25519 \S+ .*?) +\(read only\)", printed)
        assert key, printed
        self.host.allow_reading(key[1], f"acme/{self.name}")

    def commit(self, version: str, files: Mapping[str, str] | None = None) -> str:
        """Push a commit to the git host, without telling hookd of it; a page that says its version."""
        return self.repository.commit_and_push(good(version, files), version)

    def tell(self, commit: str, **changes: Any) -> str:
        """Send the signed push of a commit through nginx, and return the deployment that answers it."""
        sender = "gitea" if NAME in self.repository.url else "github"
        answer = push(self.machine, RECEIVER_DOMAIN, self.name, self.secret, sender=sender, after=commit, **changes)
        assert answer.status == 202, answer
        return str(answer.json["deployment"])

    def push(self, version: str, files: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Commit, push, tell hookd, and wait for the deployment's ending; returns its record."""
        return self.ending(self.tell(self.commit(version, files)))

    def record(self, deployment: str) -> dict[str, Any]:
        """A deployment's record, over HTTP with the token."""
        token = self.machine.read("/etc/hookd/token").strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = ask(self.machine, RECEIVER_DOMAIN, f"/deployments/{deployment}", headers=headers)
        assert answer.status == 200, answer
        return answer.json

    def ending(self, deployment: str, seconds: float = _SECONDS) -> dict[str, Any]:
        """Wait for a deployment to end and return its record; asks a few times a second, nginx lets no more through."""
        end = time.monotonic() + seconds
        while (record := self.record(deployment))["status"] in ("queued", "running"):
            assert time.monotonic() < end, f"{record}\n{self.machine.journal('hookd-worker@*')[-6000:]}"
            time.sleep(_PAUSE)
        return record

    def look(self) -> None:
        """Look for missed pushes now, without waiting for the app's turn."""
        self.redis("DEL", f"hookd:polled:{self.name}")
        self.machine.run("systemctl", "start", "hookd-reconcile.service")

    def redis(self, *command: str) -> str:
        """Say something to Redis as the operator does."""
        return self.machine.shell(_REDIS.format(command=shlex.join(command))).strip()

    def page(self, path: str = "/") -> str:
        """What a visitor sees."""
        answer = ask(self.machine, self.domain, path)
        return answer.text if answer.status == 200 else f"{answer.status}"


def set_up_layer(servers: Servers, suite: str = "bookworm") -> Layer:
    """The disk of a server that is set up and has no app yet."""
    return servers.layer(f"set up {suite}", set_up, suite=suite)


def shop_layer(servers: Servers, handover: str = "blue-green") -> Layer:
    """The disk of a server whose app is deployed and answers."""

    def add(machine: Machine) -> None:
        Shop(machine).add("--handover", handover, "--data", "uploads", "--file", ".env")

    return servers.layer(f"shop {handover}", add, on=set_up_layer(servers))
