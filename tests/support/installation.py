"""A complete hookd on one machine: configuration, Redis, receiver, workers, and apps under a process manager."""

import http.client
import json
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Self

from circus.client import CircusClient
from redis import Redis

from hookd.config import Config, load
from hookd.model.deployment import Deployment, Trigger
from hookd.model.tables.service import Colour, Service
from hookd.queue.deployments import DeploymentRequest, DeploymentStore
from hookd.queue.published import AppStatus, read_status
from tests.support.processes import accepts, free_port, listens, python, running, wait_for
from tests.support.redis_server import redis_server
from tests.support.repository import Repository
from tests.support.signatures import SECRET, gitea_headers
from tests.support.toml_tables import merged, toml
from units.render.circus import CircusApp, CircusConfig

CACHE = Path(os.environ.get("HOOKD_TEST_CACHE", f"{tempfile.gettempdir()}/hookd-test-cache"))
QUICK_CHECK = ["python", "-c", "import wsgi"]  # Faster than the default, which test_broken.py uses.
REQUIREMENTS = "gunicorn==27.0.1\n"
# The time limit of a starting app for its own health page. Tests wait for it.
STARTING_SECONDS = 3

WSGI = """
import os
VERSION = {version!r}
def app(environ, start_response):
    if environ["PATH_INFO"] == "/healthz":
        start_response({health!r}, [("Content-Type", "text/plain")])
        return [b"health"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]
"""


def app_files(version: str, health: str = "200 OK", requirements: str = REQUIREMENTS) -> dict[str, str | bytes | None]:
    """Return the files of a small app that answers with its version."""
    return {"wsgi.py": WSGI.format(version=version, health=health), "requirements.txt": requirements}


class Installation:
    """Runs hookd after `start()`, with apps and repositories, until the end of the block."""

    def __init__(self, directory: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self.ports: dict[str, int] = {}
        self.repositories: dict[str, Repository] = {}
        self._apps: dict[str, dict[str, Any]] = {}
        self._settings = dict(settings or {})
        self._stack = ExitStack()
        self.redis_url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def config_path(self) -> Path:
        """The installation's hookd.toml."""
        return self.directory / "hookd.toml"

    @property
    def config(self) -> Config:
        """The configuration as hookd reads it."""
        return load(self.config_path)

    @property
    def endpoint(self) -> str:
        """The command socket of the process manager."""
        return f"ipc://{self.directory}/circus.sock"

    def add_app(self, name: str = "shop", handover: str = "blue-green", **over: Any) -> Repository:
        """Add an app with its repository. `over` overrides its TOML table."""
        repository = self.repositories.setdefault(name, Repository(self.directory / "repos" / name))
        self.ports[name] = free_port()
        root = self.directory / "srv" / name
        root.mkdir(parents=True)
        health = f"unix:{self.directory}/{name}-{{colour}}.sock:/healthz"
        if handover == "restart":
            health = f"http://127.0.0.1:{self.ports[name]}/healthz"
        base = {
            "repository": repository.url,
            "full_name": f"acme/{name}",
            "sender": "gitea",
            "root": root,
            "dependencies": {"environment": {"UV_CACHE_DIR": CACHE / "uv"}},
            "ownership": {"policy": "split"},
            "service": {"manager": "circus", "endpoint": self.endpoint, "handover": handover, "preflight": QUICK_CHECK},
            "health": {"url": health, "deadline": 20, "steady": 0.1},
            "limits": {"free_mib": 1, "free_inodes": 0},
        }
        self._apps[name] = merged(base, over)
        self.write_config()
        return repository

    def change_app(self, name: str, **over: Any) -> None:
        """Change an app's TOML table, which the worker reads for each job."""
        self._apps[name] = merged(self._apps[name], over)
        self.write_config()

    def write_config(self) -> None:
        """Write hookd.toml, the catalogue and the secrets."""
        base = {
            "state": self.directory / "state",
            "redis": {"url": self.redis_url or "unix:///nowhere"},
            "receiver": {
                "bind": f"127.0.0.1:{self.port}",
                "secrets": self.directory / "secrets",
                "public_status": True,
            },
            "worker": {"git_protocols": ["https", "ssh", "http", "file"]},
        }
        (self.directory / "apps").mkdir(exist_ok=True)
        (self.directory / "secrets").mkdir(exist_ok=True)
        self.config_path.write_text(toml(merged(base, self._settings)))
        for name, table in self._apps.items():
            (self.directory / "apps" / f"{name}.toml").write_text(toml(table))
            (self.directory / "secrets" / name).write_text(SECRET)

    def start_redis(self, *options: str) -> None:
        """Start the Redis server of this installation."""
        self.redis_url = self._stack.enter_context(redis_server(self.directory / "redis", *options))
        self.write_config()

    def start(self, workers: int = 1) -> None:
        """Start Redis, the process manager, the receiver and some workers."""
        if not self.redis_url:
            self.start_redis()
        self.start_manager()
        self.start_receiver()
        for number in range(workers):
            self.start_worker(f"worker-{number}")

    def start_manager(self) -> None:
        """Start the process manager with the services of every app, all of them stopped."""
        services = tuple(self._service(name, table["service"]) for name, table in self._apps.items())
        circus = CircusConfig(self.directory, services)
        circus.file.write_text(circus.ini)
        self._stack.enter_context(running(list(circus.command), self.directory / "circus.log", self.environment))
        wait_for(lambda: accepts(circus.socket), what="the process manager")

    def start_receiver(self) -> None:
        """Start the receiver, wait until it answers, and kill it at the end, because its stop takes seconds."""
        process = self._stack.enter_context(self.receiver())
        self._stack.callback(os.killpg, process.pid, signal.SIGKILL)

    @contextmanager
    def receiver(self) -> Iterator["Popen[bytes]"]:
        """Run a receiver during the block, and let it stop by itself."""
        log = self.directory / "receiver.log"
        with running(python("-m", "hookd.cli", "serve"), log, self.environment) as process:
            wait_for(lambda: listens(self.port), what="the receiver")
            yield process

    def start_worker(self, name: str = "worker") -> Any:
        """Start a worker and return its process."""
        log = self.directory / "worker.log"
        process = self._stack.enter_context(running(python("-m", "worker", name), log, self.environment))
        connection = Redis.from_url(self.redis_url)
        wait_for(lambda: connection.exists(f"rq:worker:{name}"), what=f"the worker {name}")
        return process

    def circus(self, verb: str, name: str) -> Any:
        """Return a watcher's status or processes, or let circus start, stop or restart it."""
        client = CircusClient(endpoint=self.endpoint, timeout=60)
        try:
            answer = client.send_message(verb, name=name, waiting=True)
        finally:
            client.stop()
        assert answer["status"] != "error", answer
        return answer.get("pids", answer["status"])

    @property
    def environment(self) -> dict[str, str]:
        """The environment that hookd's programs run with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HOOKD_"))}
        return {**kept, "HOOKD_CONFIG": str(self.config_path), "PYTHONWARNINGS": "default"}

    @property
    def records(self) -> DeploymentStore:
        """The deployments, read directly."""
        return DeploymentStore(Redis.from_url(self.redis_url, socket_timeout=5), keep_seconds=3600)

    def status(self, app: str) -> AppStatus:
        """Read an app's published status."""
        return read_status(self.records.connection, app)

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST"
    ) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
        """Send one request to the receiver and return status, JSON and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text[:1] in b"{[" else {"text": text.decode()}, response.headers
        finally:
            connection.close()

    def send_push(self, app: str = "shop", after: str | None = None, delivery: str | None = None) -> dict[str, Any]:
        """Send a signed push event as Gitea does, and return the answer. Another delivery is another push."""
        repository, delivery = self.repositories[app], delivery or str(uuid.uuid4())
        body = json.dumps(
            {
                "ref": "refs/heads/main",
                "before": "1" * 40,
                "after": after or repository.head(),
                "repository": {"full_name": f"acme/{app}"},
                "delivery": delivery,
            }
        ).encode()
        status, answer, _ = self.post(f"/hooks/{app}", body, gitea_headers(body, delivery=delivery))
        if status not in (200, 202):
            raise AssertionError(f"the push was answered {status}: {answer}")
        return answer

    def deploy(self, app: str = "shop", trigger: Trigger = Trigger.MANUAL, **wanted: Any) -> Deployment:
        """Request a deployment as the command line does, wait for its ending and return the record."""
        return self.wait_for_ending(self.deploy_later(app, trigger, **wanted))

    def deploy_later(self, app: str = "shop", trigger: Trigger = Trigger.MANUAL, **wanted: Any) -> str:
        """Request a deployment and return its id at once."""
        return self.records.request(DeploymentRequest(app=app, trigger=trigger, seconds=300, **wanted)).deployment

    def push_and_wait(self, app: str = "shop") -> Deployment:
        """Send a push event and wait for the ending of its deployment."""
        return self.wait_for_ending(self.send_push(app)["deployment"])

    def ship(self, app: str, files: Mapping[str, str | bytes | None]) -> Deployment:
        """Commit and push files, send the push event, and wait for the ending of its deployment."""
        self.repositories[app].commit_and_push(files)
        return self.push_and_wait(app)

    def wait_for_step(self, deployment_id: str, name: str) -> None:
        """Wait until a deployment has started a step."""
        records = self.records
        wait_for(
            lambda: any(step.name == name for step in records.get(deployment_id).steps),
            what=f"the step {name} of {deployment_id}",
        )

    def deployer(self, app: str) -> int:
        """Return the last process that deployed the app, from the app's lock."""
        text = (self.directory / "state" / "locks" / f"{app}.lock").read_text()
        return int(text.partition("(process ")[2].rstrip(")\n"))

    def wait_for_ending(self, deployment_id: str, seconds: float = 90) -> Deployment:
        """Wait until a deployment has ended and return its record."""
        records = self.records
        wait_for(lambda: records.get(deployment_id).ended, seconds, what=f"the ending of {deployment_id}")
        return records.get(deployment_id)

    def log_of(self, deployment: Deployment) -> str:
        """Read a deployment's log."""
        return self.config.settings.log_path(deployment.app, deployment.id).read_text()

    def serving(self, app: str = "shop") -> str:
        """Return the version that the app serves."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[app], timeout=30)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def current(self, app: str = "shop") -> Path:
        """Return the release behind the app's `current`."""
        return (self.directory / "srv" / app / "current").resolve()

    def root(self, app: str = "shop") -> Path:
        """Return the app's directory."""
        return self.directory / "srv" / app

    def _service(self, name: str, table: Mapping[str, Any]) -> CircusApp:
        colours: tuple[Colour | None, ...] = ("blue", "green") if table["handover"] == "blue-green" else (None,)
        service = Service.model_validate(table)
        health = {"STATUS": self._apps[name]["health"].get("status", 200), "SECONDS": STARTING_SECONDS}
        gate = ("HOOKD_HEALTH_PATH=/healthz", *(f"HOOKD_HEALTH_{key}={value}" for key, value in health.items()))
        file = table.get("environment_file")
        return CircusApp(name, self.root(name), self.ports[name], colours, file, service, gate)
