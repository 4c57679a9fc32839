"""Public applications as their repositories are: does hookd bring each to life at the first try?

`./run bench real_apps --repositories DIR [NAME …]` wants a bare clone of each in DIR/NAME.git, made with
`git clone --bare URL DIR/NAME.git`. Nothing is changed in them. It types `hookd up`, or with `--server bookworm` as
root `hookd app add` on a booted Debian, accepts the plan, gives the variables that it asks for, and pushes again.
On a server, visitors come 80 times a second during the pushes, and what they sent before must still be there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.real_app_list import APPS, RealApp
from bench.real_visitor import Visitor
from bench.report import machine as description
from bench.report import options, table
from tests.support.processes import free_port
from tests.support.repository import IDENTITY
from tests.support.server.machine import Machine, machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import fresh
from tests.support.server.shop import Shop, install, set_up
from tests.support.server.visitors import visitors
from tests.support.server.web import ask
from tests.support.typed import typed_at_home

_SECONDS: Final = 900
_BRANCH: Final = "as-tried"
_PER_SECOND: Final = 80
# What the owner of such applications has on the server.
_PACKAGES: Final = ("nodejs", "npm", "postgresql", "redis-server", "libpq-dev")
_NEW_DATABASE: Final = """cd /
sudo -u postgres psql -qc "DROP DATABASE IF EXISTS app" -c "DROP ROLE IF EXISTS app"
sudo -u postgres psql -qc "CREATE ROLE app LOGIN PASSWORD 'app'" -c "CREATE DATABASE app OWNER app"
"""


class OnServer:
    """One application on a booted server, whose git host takes pushes."""

    def __init__(self, app: RealApp, server: Machine, source: Path) -> None:
        self.app = app
        self.shop = Shop(server, re.sub(r"[^a-z0-9]+", "-", app.name.lower()))
        self.visitor = Visitor(server, self.shop.domain)
        bare = self.shop.repository.bare
        self.bare = f"/{bare.relative_to(server.disk)}"
        shutil.rmtree(bare)
        with tempfile.TemporaryDirectory() as aside:
            take_commit(app, source, Path(aside) / "bare.git")
            shutil.copytree(Path(aside) / "bare.git", bare)
        server.run("chown", "-R", "root:root", self.bare)
        server.write(f"/root/{app.name}.env", app.variables)
        server.shell(_NEW_DATABASE)
        self.answers = ""
        self.shop.allow_reading()

    def up(self) -> tuple[int, str]:
        """Type `hookd app add`, and return its status and its output."""
        source = ("--repo", self.shop.repository.url, "--domain", self.shop.domain)
        variables = ("--env-file", f"/root/{self.app.name}.env")
        arguments = ("app", "add", self.shop.name, *source, *variables, "--yes", *self.app.options)
        done = self.shop.machine.run("hookd", *arguments, check=False, timeout=_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def follow(self) -> tuple[int, str]:
        """Type the way out of a failure, and wait for the next try."""
        done = self.shop.machine.run("hookd", "app", "edit", self.shop.name, "--set", self.app.way_out, check=False)
        retry = re.search(r"it is tried again: (\S+)", done.stdout)
        record = self.shop.ending(retry[1], _SECONDS) if retry else {"status": "not tried", "cause": done.stderr}
        return int(record["status"] != "succeeded"), f"{done.stdout}{record['cause']}"

    def fill(self) -> str:
        """Submit the forms, and return as `kept` does."""
        pages = [self.visitor.submit(*form) for form in self.app.forms]
        self.answers = "\n".join(pages)
        return self.kept()

    def kept(self) -> str:
        """Return "kept" if a visitor finds what was sent, "lost" if not, and "-" without forms."""
        path, text = self.app.kept
        if not text:
            return "-"
        return "kept" if text in self.visitor.read(path) else "lost"

    def push(self, number: int) -> tuple[int, str]:
        """Push commits without a change of files, with their deliveries, and count what visitors missed."""
        with visitors(self.shop.machine, self.shop.domain, self.app.page, per_second=_PER_SECOND) as crowd:
            for _ in range(number):
                commit = push_empty(self._git)
                record = self.shop.ending(self.shop.deliver(commit, ref=f"refs/heads/{_BRANCH}"), _SECONDS)
                if record["status"] != "succeeded":
                    return 1, str(record["cause"])
        failures = "".join(f"{one}\n" for one in crowd.failures[:20])
        print(f"  {crowd.number} requests, {len(crowd.failures)} failed, slowest {crowd.slowest:.2f} s", flush=True)
        return 0, failures

    def _git(self, *arguments: str) -> str:
        identity = [f"{name}={value}" for name, value in IDENTITY.items()]
        return self.shop.machine.run("env", *identity, "git", "-C", self.bare, *arguments).stdout.strip()

    def page(self) -> str:
        """Return the status of the first page through nginx."""
        return str(ask(self.shop.machine, self.shop.domain, "/").status)

    def log(self) -> str:
        """Return the log of the newest deployment, and what the app's units have printed."""
        deployment = self.shop.machine.run("hookd", "logs", self.shop.name, check=False).stdout
        return deployment + self.shop.machine.journal(f"{self.shop.name}*") + self.answers

    def end(self) -> None:
        """Remove the application."""
        self.shop.machine.run("hookd", "app", "remove", self.shop.name, "--yes", check=False)


class OnThisMachine:
    """One application in a home directory of its own, with a bare clone that takes pushes."""

    def __init__(self, app: RealApp, source: Path, pythons: Path | None) -> None:
        self.app = app
        self.home = home = Path(tempfile.mkdtemp(prefix="real-"))
        self.port = free_port()
        self.bare = home / f"{app.name}.git"
        take_commit(app, source, self.bare)
        (home / "variables").write_text(app.variables)
        if pythons:
            managed = home / ".local/share/uv/python"
            managed.parent.mkdir(parents=True)
            managed.symlink_to(pythons.resolve())

    def up(self) -> tuple[int, str]:
        """Type `hookd up` for a new app, and return its status and its output."""
        return self._up("--port", str(self.port), "--env-file", str(self.home / "variables"))

    def _up(self, *more: str) -> tuple[int, str]:
        return self.hookd("up", "--repo", str(self.bare), "--name", "app", "--yes", *self.app.options, *more)

    def follow(self) -> tuple[int, str]:
        """Type the way out of a failure."""
        return self.hookd("up", "--repo", str(self.bare), "--name", "app", "--set", self.app.way_out, "--yes")

    def fill(self) -> str:
        """Submit nothing: forms are for servers."""
        return "-"

    kept = fill

    def push(self, number: int) -> tuple[int, str]:
        """Push commits without a change of files, and type `hookd up` again."""
        for _ in range(number):
            push_empty(lambda *words: _git(self.bare, *words))
        return self._up()

    def hookd(self, *arguments: str) -> tuple[int, str]:
        """Type a command of hookd as a person without a terminal."""
        done = typed_at_home(self.home, *arguments, seconds=_SECONDS)
        return done.returncode, done.stdout

    def page(self) -> str:
        """Return the status of the first page, also that of a redirect, or an error."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/")
            return str(connection.getresponse().status)
        except OSError as error:
            return type(error).__name__
        finally:
            connection.close()

    def log(self) -> str:
        """Return the log of the newest deployment."""
        return self.hookd("logs", "app")[1]

    def end(self) -> None:
        """Remove the application."""
        self.hookd("down", "app", "--purge", "--yes")
        shutil.rmtree(self.home, ignore_errors=True)


def take_commit(app: RealApp, source: Path, bare: Path) -> None:
    """Clone a repository, whose own branch ends with the application's commit.

    A clone that lacks objects of its history gives the files of the commit alone.
    """
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(bare)], check=True)
    commit = app.commit
    if re.search(r"^\?", _git(bare, "rev-list", "--objects", "--missing=print", commit), re.MULTILINE):
        commit = _git(bare, "commit-tree", f"{commit}^{{tree}}", "-m", "The files of a commit")
    _git(bare, "update-ref", f"refs/heads/{_BRANCH}", commit)
    _git(bare, "symbolic-ref", "HEAD", f"refs/heads/{_BRANCH}")


def push_empty(git: Callable[..., str]) -> str:
    """Add a commit without a change of files, and return it."""
    commit = git("commit-tree", f"{_BRANCH}^{{tree}}", "-p", _BRANCH, "-m", "Another push")
    git("update-ref", f"refs/heads/{_BRANCH}", commit)
    return commit


def _git(bare: Path, *arguments: str) -> str:
    command = ["git", "-C", str(bare), *arguments]
    env = {**os.environ, **IDENTITY}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()


def try_app(attempt: OnServer | OnThisMachine, pushes: int, logs: Path) -> tuple[str, ...]:
    """Bring an application up, push to it, and return the row of the table."""
    started = time.monotonic()
    first = second = kept = "-"
    try:
        status, output = attempt.up()
        seconds = time.monotonic() - started
        live = "live" if status == 0 else "not live"
        if status and attempt.app.way_out:
            status, more = attempt.follow()
            output += more
            live = "live by its way out" if status == 0 else live
        if status == 0:
            first = attempt.page()
            kept = attempt.fill()
            ended, more = _push(attempt, pushes)
            output += more
            second = attempt.page() if ended == 0 else "failed"
            kept = attempt.kept() if kept == "kept" else f"{kept} at first"
        (logs / f"{attempt.app.name}.log").write_text(output + attempt.log())
        live = live if first[:1] in ("2", "3", "4") else "not live"
        return attempt.app.name, live, first, second, kept, f"{seconds:.1f}"
    finally:
        attempt.end()


def _push(attempt: OnServer | OnThisMachine, pushes: int) -> tuple[int, str]:
    """Push, and report a server that is too busy to answer as a failure."""
    try:
        return attempt.push(pushes)
    except AssertionError as error:
        return 1, str(error)


@contextmanager
def booted(suite: str, pythons: Path | None, prepare: str) -> Iterator[Machine]:
    """Run a server with hookd, and with what its owner has installed. Ends this program where none can boot."""
    if obstacle := can_boot():
        raise SystemExit(obstacle)
    with workplace() as directory, machine(directory / "server", fresh(suite).lower, is_kept=True) as server:
        server.shell(f"apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y {' '.join(_PACKAGES)}")
        server.shell(prepare)
        install(server)
        set_up(server)
        if pythons:
            shutil.copytree(pythons, server.path("/opt/hookd/python"), symlinks=True)
        yield server


def main() -> None:
    """Try the named applications, or all."""
    parser = options(__doc__)
    parser.add_argument("--repositories", type=Path, required=True, help="the directory with NAME.git of each")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="the directory for their output")
    parser.add_argument("--server", metavar="SUITE", help="a booted Debian of this suite, such as bookworm")
    parser.add_argument("--pythons", type=Path, help="more interpreters, as `uv python install` makes them")
    parser.add_argument("--prepare", default="true", help="a shell command that the server's owner has typed before")
    parser.add_argument("--pushes", type=int, default=1, help="the number of pushes after the first deployment")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    given.logs.mkdir(parents=True, exist_ok=True)
    chosen = [app for app in APPS if not given.names or app.name in given.names][: 1 if given.once else None]
    rows = []
    with booted(given.server, given.pythons, given.prepare) if given.server else nullcontext() as server:
        for app in chosen:
            source = given.repositories.resolve() / f"{app.name}.git"
            attempt = OnServer(app, server, source) if server else OnThisMachine(app, source, given.pythons)
            rows.append(try_app(attempt, given.pushes, given.logs))
            print("  ".join(rows[-1]), flush=True)
    print(table(("application", "first try", "page", "after pushes", "data", "seconds"), rows))
    print(description("gunicorn", "uv"))


if __name__ == "__main__":
    main()
