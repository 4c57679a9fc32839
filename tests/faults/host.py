"""A complete hookd on one machine whose programs restart as with systemd: receiver, worker, reconciler, Redis."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError

from hookd.model.deployment import Deployment, Status
from tests.faults.program import Program
from tests.faults.redis_server import RedisServer
from tests.support.installation import Installation, app_files
from tests.support.processes import python, wait_for

APP = "shop"
_RECONCILE_SECONDS = "1"
# Holds a lock while it builds, and reports a second build at the same time.
# It waits for the test, at most a minute.
WITNESS = """
import fcntl, os, sys, time
with open(sys.argv[1], "a") as book:
    try:
        fcntl.flock(book, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(book.fileno(), b"overlap\\n")
        raise SystemExit(0)
    os.write(book.fileno(), b"build\\n")
    time.sleep(0.2)
    for _ in range(3000):
        if not os.path.exists(sys.argv[2]):
            break
        time.sleep(0.02)
"""


class FaultHost:
    """An installation with one app, and its faults. `settings` and `app` override the usual tables."""

    def __init__(
        self, directory: Path, handover: str = "blue-green", settings: Mapping[str, Any] | None = None, **app: Any
    ) -> None:
        self.site = Installation(directory, settings)
        self.redis = RedisServer(directory / "redis")
        self.book = directory / "witness"
        self._gate = directory / "gate"
        self.versions = 0
        self.receiver = Program(self.site, "receiver", "hookd.cli", "serve")
        self.worker = Program(self.site, "worker", "worker", "kept-1")
        self.reconciler = Program(self.site, "reconcile", "worker.reconcile", "--every", _RECONCILE_SECONDS)
        self.handover = handover
        self._app = app
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.site)
            stack.enter_context(self.redis)
            self.site.redis_url = self.redis.url
            self._add_app()
            self.site.start_manager()
            stack.enter_context(self.receiver)
            wait_for(self.listens, what="the receiver")
            stack.enter_context(self.worker)
            self._deploy_first()
            stack.enter_context(self.reconciler)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add_app(self) -> None:
        self.book.touch()
        witness = self.site.directory / "witness.py"
        witness.write_text(WITNESS)
        command = [*python(), str(witness), str(self.book), str(self._gate)]
        table = {"build": {"commands": [command]}, "reconcile": {"every": 1}, **self._app}
        self.site.add_app(APP, self.handover, **table)

    def _deploy_first(self) -> None:
        """Deploy the first version."""
        self.commit()
        ended = self.site.push_and_wait(APP)
        assert ended.status == "succeeded", (ended, self.site.log_of(ended))

    # Developers and visitors

    def commit(self, **files: str | bytes | None) -> str:
        """Push the next version to the git host without a delivery, and return the text of its page."""
        self.versions += 1
        version = f"v{self.versions}"
        self.site.repositories[APP].commit_and_push({**app_files(version), "last.txt": version, **files})
        return version

    def push(self) -> Deployment:
        """Push the next version and deliver it before the reconciler finds it."""
        with self.reconciler.paused():
            self.commit()
            return self.deliver()

    def deliver(self) -> Deployment:
        """Deliver the branch's head, and return the deployment of the answer."""
        return self.site.records.get(self.site.send_push(APP)["deployment"])

    def listens(self) -> bool:
        """Return True if the receiver answers requests."""
        with suppress(OSError):
            return self.site.post("/healthz", b"", {}, "GET")[0] == 200
        return False

    def serving(self) -> str:
        """Return the page that a visitor sees."""
        try:
            return self.site.serving(APP)
        except OSError as error:
            return str(error)

    # Faults

    @contextmanager
    def building(self) -> Iterator[Deployment]:
        """Push the next version and hold a deployment in its build during the block, perhaps an earlier one."""
        self._gate.touch()
        try:
            self.push()
            wait_for(self._building, 60, what="a deployment that builds")
            yield self._building()[0]
        finally:
            self._gate.unlink()

    def _building(self) -> list[Deployment]:
        return [one for one in self.history() if not one.ended and one.steps and one.steps[-1].name == "build"]

    def kill_deployer(self) -> bool:
        """Kill the deploying process, and return True if there was one."""
        with suppress(OSError, ValueError):
            pid = self.site.deployer(APP)
            if pid in dict(self._processes()):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    # Waits

    def wait_for_step(self, deployment: Deployment, name: str) -> None:
        """Wait until a deployment has started a step, or has ended without it."""
        records = self.site.records

        def has_step() -> bool:
            record = records.get(deployment.id)
            return record.ended or any(step.name == name for step in record.steps)

        wait_for(has_step, 60, what=f"the step {name} of {deployment.id}")

    def wait_until_started(self, deployment: Deployment) -> None:
        """Wait until a worker has started a deployment, or it has ended."""
        records = self.site.records
        wait_for(lambda: records.get(deployment.id).status is not Status.QUEUED, 60, what=f"a start of {deployment.id}")

    def wait_until_done(self, deployment: Deployment, seconds: float = 60) -> None:
        """Wait until a deployment's log has an ending, which Redis may not know yet."""
        log = self.site.config.settings.log_path(APP, deployment.id)
        endings = ("succeeded: ", "failed: ", "unchanged: ", "rolled_back: ", "rollback_failed: ")

        def done() -> bool:
            return log.exists() and any(line[12:].split(None, 1)[1].startswith(endings) for line in _whole_lines(log))

        wait_for(done, seconds, what=f"the ending in {log}")

    def wait_until_head_serves(self, seconds: float = 90) -> None:
        """Wait until visitors see the newest version, each record has an ending, and the status agrees."""
        end = time.monotonic() + seconds
        while difference := self._difference():
            if time.monotonic() > end:
                raise AssertionError(f"after {seconds:g} s: {difference}\n{self.evidence()}")
            time.sleep(0.05)

    def _difference(self) -> str:
        """Return the first difference from the expected state, or ""."""
        expected, page = f"v{self.versions}", self.serving()
        if page != expected:
            return f"the page is {page}, not {expected}"
        try:
            if left := [record.id for record in self.history() if not record.ended]:
                return f"without an ending: {left}"
            view = self.site.status(APP)
        except RedisError as error:
            return f"Redis: {error}"
        head = self.site.repositories[APP].head()
        if view.deployed_commit != head or view.lag is not None:
            return f"the status names {view.deployed_commit} instead of {head}, with the lag {view.lag}"
        return ""

    def history(self) -> list[Deployment]:
        """Return the app's deployments, the newest first."""
        return self.site.records.history(APP, 1000)

    def evidence(self) -> str:
        """Return the records and logs for the message of a failed test."""
        lines = []
        with suppress(RedisError):
            lines = [f"{one.id} {one.trigger} {one.status}: {one.cause}" for one in self.history()[:10]]
        for program in (self.worker, self.reconciler, self.receiver):
            text = program.log.read_text(errors="replace").splitlines()
            lines += [f"--- {program.log}", *text[-25:]]
        return "\n".join(lines)

    # Leftover processes

    def orphans(self) -> list[str]:
        """Return the processes of this installation without a living parent, such as a killed worker's."""
        return [line for pid, line in self._processes() if os.getpid() not in _ancestors(pid)]

    def _processes(self) -> Iterator[tuple[int, str]]:
        """Yield the processes of this installation with their command lines."""
        mark = str(self.site.directory).encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (process / "cmdline").read_bytes()
                if mark in line or mark in (process / "environ").read_bytes():
                    yield int(process.name), line.replace(b"\0", b" ").decode(errors="replace")


def _whole_lines(log: Path) -> list[str]:
    return [line for line in log.read_text(errors="replace").splitlines() if len(line.split(None, 2)) == 3]


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            yield os.getpid()  # The process has just ended.
            return
        pid = int(status.partition("PPid:")[2].split()[0])
        yield pid
