"""A whole hookd on one machine that comes back as systemd would bring it back: worker, reconciler, Redis."""

import os
import signal
import subprocess
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self

from hookd.contract.deployment import Deployment
from tests.support.installation import Installation, app_files
from tests.support.processes import PROJECT, python, wait_for

# As units/templates/systemd would, only sooner: tests wait for nothing but the fault.
_RESTART_SECONDS = 0.2
_RECONCILE_SECONDS = "1"
# Holds a lock while it builds and says so when somebody else does: two deployers at once would meet here.
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
"""


class Program:
    """One program that is started again whenever it ends, until the block does."""

    def __init__(self, site: Installation, name: str, *arguments: str) -> None:
        self.name = name
        self.starts = 0
        self._site = site
        self._argv = python("-P", "-m", *arguments)
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self._process is not None, what=self.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def pid(self) -> int:
        """The process of now."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it as the kernel would; what it started must end by itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _keep(self) -> None:
        with (self._site.directory / f"{self.name}.log").open("ab") as log:
            while not self._ended.is_set():
                self._process = self._start(log)
                while self._process.poll() is None and not self._ended.wait(0.02):
                    pass
                self._ended.wait(_RESTART_SECONDS)
            if self._process is not None:
                self._process.terminate()
                self._process.wait(30)

    def _start(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        self.starts += 1
        environment = self._site.environment
        return subprocess.Popen(
            self._argv, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


class Keeper:
    """An installation with one app, its worker and its reconciler, and the means to break them."""

    def __init__(self, directory: Path, **app: Any) -> None:
        self.site = Installation(directory)
        self.book = directory / "witness"
        self.book.touch()
        self._app = app
        self._stack = ExitStack()
        self.versions = 0

    def __enter__(self) -> Self:
        self._stack.enter_context(self.site)
        witness = self.site.directory / "witness.py"
        witness.write_text(WITNESS)
        command = [*python(), str(witness), str(self.book)]
        table = {"build": {"commands": [command]}, "reconcile": {"every": 1}, **self._app}
        self.site.add_app("shop", **table)
        self.site.start_redis("--appendonly", "yes")
        self.site.start_manager()
        self.site.start_receiver()
        self.worker = self._stack.enter_context(Program(self.site, "worker", "worker", "kept-1"))
        self.reconciler = self._stack.enter_context(
            Program(self.site, "reconcile", "worker.reconcile", "--every", _RECONCILE_SECONDS)
        )
        self.first()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def first(self) -> None:
        """Deploy the first version, so that there is something to lose."""
        self.commit()
        ended = self.site.push_and_wait("shop")
        assert ended.status == "succeeded", (ended, self.site.log_of(ended))

    def commit(self) -> str:
        """Push the next version to the git host, and tell nobody; returns what its page will say."""
        self.versions += 1
        version = f"v{self.versions}"
        self.site.repositories["shop"].commit_and_push({**app_files(version), "last.txt": version})
        return version

    def push(self) -> Deployment:
        """Push the next version and tell the receiver."""
        self.commit()
        return self.site.records.get(self.site.send_push("shop")["deployment"])

    def wait_for_step(self, deployment: Deployment, name: str) -> None:
        """Wait until a deployment has come to a step, or has ended without it."""
        records = self.site.records

        def there() -> bool:
            record = records.get(deployment.id)
            return record.ended or any(step.name == name for step in record.steps)

        wait_for(there, 60, what=f"the step {name} of {deployment.id}")

    def kill_deployer(self) -> bool:
        """Kill the process that deploys now; tells whether there was one."""
        try:
            os.kill(self.site.deployer("shop"), signal.SIGKILL)
        except (OSError, ValueError):
            return False
        return True

    def wait_until_head_serves(self, seconds: float = 90) -> None:
        """Wait until visitors see the newest version, nothing runs, and no record is left open."""
        wanted = f"v{self.versions}"
        wait_for(lambda: self._serving() == wanted, seconds, what=f"{wanted} (now {self._serving()})")
        wait_for(lambda: not self.open_records(), seconds, what="the endings")

    def open_records(self) -> list[Deployment]:
        """Deployments without an ending."""
        return [record for record in self.site.records.history("shop", 1000) if not record.ended]

    def strays(self) -> list[str]:
        """Processes of this installation that have lost their parent: nothing of a dead worker may go on."""
        mark = f"HOOKD_CONFIG={self.site.config_path}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes() and _parent(process) == 1:
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def _serving(self) -> str:
        try:
            return self.site.serving("shop")
        except OSError as error:
            return str(error)


def _parent(process: Path) -> int:
    status = (process / "status").read_text()
    return int(status.partition("PPid:")[2].split()[0])
