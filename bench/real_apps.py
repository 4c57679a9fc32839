"""Public applications as their repositories are: does hookd bring each to life at the first try?

`./run bench real_apps --repositories DIR [NAME …]` wants a bare clone of each in DIR/NAME.git, made with
`git clone --bare URL DIR/NAME.git`. Nothing is changed in them. It types `hookd up`, or with `--server trixie` as root
`hookd app add` on a booted Debian, accepts the plan, gives the variables that it asks for, and pushes once more.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import machine as description
from bench.report import options, table
from tests.support.processes import free_port
from tests.support.repository import IDENTITY
from tests.support.server.machine import Machine, machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import fresh
from tests.support.server.shop import Shop, install, set_up
from tests.support.server.web import ask

_SECONDS: Final = 900
_BRANCH: Final = "as-tried"


@dataclass(frozen=True)
class RealApp:
    """An application: its commit, variables beside those of its plan, and the choice among its directories."""

    name: str
    commit: str
    variables: str = ""
    options: tuple[str, ...] = ()


APPS: Final = (
    RealApp("microblog", "a975ef64864354867c88e0ed3a17ba7d17dca752"),
    RealApp("flask", "2ac89889f4cc330eabd50f295dcef02828522c69", options=("--directory", "examples/tutorial")),
    RealApp("CTFd", "91ced62d44d3ec3142a0948ee96ed19947cfc979"),
    RealApp("cookiecutter", "HEAD"),
    RealApp("searxng", "9fea41204fdfa7a5cfa15b0ebd12904c520478ce"),
    RealApp("changedetection.io", "fce24780e74199bf34c62a0d90188cc2fc12f061"),
    RealApp("healthchecks", "29b5ec251059034b79e0120e2ff0c3e35d7bd9f8"),
    RealApp("whoogle-search", "13e52132e3b45328de4146818762c891b7e3d6f4"),
    RealApp("bakerydemo", "8e2b625755d8942412d5b7627b146a795933b8b2"),
    RealApp("starlette-example", "4c220b3be4aca49dfc2b507dfde26f0bad2349b4"),
    RealApp("flasky", "3beedd640b9146b0bd65c8c2ecf402b01798bc33"),
    RealApp("flask-realworld", "4b95fb2227dfeb5dd1a45d89b2bf48630b93fd28"),
    RealApp("fastapi-realworld", "029eb7781c60d5f563ee8990a0cbfb79b244538c"),
    RealApp("full-stack-fastapi", "68adb40d37425f6f8668ec7e5a054500d045e43e"),
)


class OnServer:
    """One application on a booted server, whose git host takes pushes."""

    def __init__(self, app: RealApp, server: Machine, source: Path) -> None:
        self.app = app
        self.shop = Shop(server, re.sub(r"[^a-z0-9]+", "-", app.name.lower()))
        self.bare = self.shop.repository.bare
        shutil.rmtree(self.bare)
        with tempfile.TemporaryDirectory() as aside:  # git follows no path into another process's root
            take_commit(app, source, Path(aside) / "bare.git")
            shutil.copytree(Path(aside) / "bare.git", self.bare)
        server.run("chown", "-R", "root:root", f"/{self.bare.relative_to(server.disk)}")
        server.write(f"/root/{app.name}.env", app.variables)
        self.shop.allow_reading()

    def up(self) -> tuple[int, str]:
        """Type `hookd app add`, and the second time push, and return the status and the output."""
        source = ("--repo", self.shop.repository.url, "--domain", self.shop.domain)
        variables = ("--env-file", f"/root/{self.app.name}.env")
        arguments = ("app", "add", self.shop.name, *source, *variables, "--yes", *self.app.options)
        done = self.shop.machine.run("hookd", *arguments, check=False)
        return done.returncode, done.stdout + done.stderr

    def push(self) -> tuple[int, str]:
        """Push a commit without a change of files, with its delivery."""
        record = self.shop.ending(self.shop.deliver(push_empty(self.bare)), _SECONDS)
        return int(record["status"] != "succeeded"), str(record["cause"])

    def page(self) -> str:
        """Return the status of the first page through nginx."""
        return str(ask(self.shop.machine, self.shop.domain, "/").status)

    def log(self) -> str:
        """Return the log of the newest deployment."""
        return self.shop.machine.run("hookd", "logs", self.shop.name, check=False).stdout

    def end(self) -> None:
        """Remove the application."""
        self.shop.machine.run("hookd", "app", "remove", self.shop.name, "--yes", check=False)


class OnThisMachine:
    """One application in a home directory of its own, with a bare clone that takes pushes."""

    def __init__(self, app: RealApp, source: Path) -> None:
        self.app = app
        self.home = home = Path(tempfile.mkdtemp(prefix="real-"))
        self.port = free_port()
        self.bare = home / f"{app.name}.git"
        take_commit(app, source, self.bare)
        (home / "variables").write_text(app.variables)

    def up(self) -> tuple[int, str]:
        """Type `hookd up`, and return its status and its output."""
        source = ("--repo", str(self.bare), "--name", "app", "--port", str(self.port))
        return self.hookd("up", *source, "--env-file", str(self.home / "variables"), "--yes", *self.app.options)

    def push(self) -> tuple[int, str]:
        """Push a commit without a change of files, and type `hookd up` again."""
        push_empty(self.bare)
        return self.up()

    def hookd(self, *arguments: str) -> tuple[int, str]:
        """Type a command of hookd as a person without a terminal."""
        command = [sys.executable, "-P", "-m", "hookd.cli", *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "HOOKD_"))}
        done = subprocess.run(
            command,
            env={**kept, "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def page(self) -> str:
        """Return the status of the first page, or an error."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/", timeout=30) as answer:
                return str(answer.status)
        except HTTPError as error:
            return str(error.code)
        except (OSError, URLError) as error:
            return type(error).__name__

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


def push_empty(bare: Path) -> str:
    """Add a commit without a change of files, and return it."""
    commit = _git(bare, "commit-tree", f"{_BRANCH}^{{tree}}", "-p", _BRANCH, "-m", "A second push")
    _git(bare, "update-ref", f"refs/heads/{_BRANCH}", commit)
    return commit


def _git(bare: Path, *arguments: str) -> str:
    command = ["git", "-C", str(bare), "-c", "safe.directory=*", *arguments]
    env = {**os.environ, **IDENTITY}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()


def try_app(attempt: OnServer | OnThisMachine, logs: Path) -> tuple[str, ...]:
    """Bring an application up, push once more, and return the row of the table."""
    started = time.monotonic()
    try:
        status, output = attempt.up()
        seconds = time.monotonic() - started
        first = attempt.page() if status == 0 else "-"
        second = "-"
        if status == 0:
            ended, more = attempt.push()
            output += more
            second = attempt.page() if ended == 0 else "failed"
        (logs / f"{attempt.app.name}.log").write_text(output + attempt.log())
        return attempt.app.name, "live" if first[:1] in ("2", "3", "4") else "not live", first, second, f"{seconds:.1f}"
    finally:
        attempt.end()


@contextmanager
def booted(suite: str) -> Iterator[Machine]:
    """Run a server with hookd, as root. Ends this program where none can boot."""
    if obstacle := can_boot():
        raise SystemExit(obstacle)
    with workplace() as directory, machine(directory / "server", fresh(suite).lower, is_kept=True) as server:
        install(server)
        set_up(server)
        yield server


def main() -> None:
    """Try the named applications, or all."""
    parser = options(__doc__)
    parser.add_argument("--repositories", type=Path, required=True, help="the directory with NAME.git of each")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()), help="the directory for their output")
    parser.add_argument("--server", metavar="SUITE", help="a booted Debian of this suite, such as trixie")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    given.logs.mkdir(parents=True, exist_ok=True)
    chosen = [app for app in APPS if not given.names or app.name in given.names][: 1 if given.once else None]
    rows = []
    with booted(given.server) if given.server else nullcontext() as server:
        for app in chosen:
            source = given.repositories.resolve() / f"{app.name}.git"
            attempt = OnServer(app, server, source) if server else OnThisMachine(app, source)
            rows.append(try_app(attempt, given.logs))
            print("  ".join(rows[-1]), flush=True)
    print(table(("application", "first try", "page", "after a push", "seconds"), rows))
    print(description("gunicorn", "uv"))


if __name__ == "__main__":
    main()
