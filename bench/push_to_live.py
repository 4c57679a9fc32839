"""Seconds from a push to the new version answering, beside a bare restart of the same app plus one import of it.

On a server, which root can boot, it also measures what the units of the build, check and release phase add to a push.
"""

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.phases import server_tables
from bench.report import first_line, machine, options, table, times
from hookd.model.deployment import Deployment, Status
from tests.support.installation import Installation
from tests.support.processes import python
from tests.support.server.needs import can_boot

_MOST_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.002
_HANDOVERS: Final = ("blue-green", "restart")
_REQUIREMENTS: Final = "flask==3.1.3\ngunicorn==27.0.1\n"
_WSGI: Final = """
import os
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return f"@version@ {os.getpid()}"


@app.get("/healthz")
def healthz():
    return "well"
"""


@dataclass(frozen=True)
class Round:
    """Seconds of one round, and the steps of its deployment."""

    live: float
    bare: float
    imported: float
    steps: dict[str, float]

    @property
    def more(self) -> float:
        """The seconds of a push beyond a bare restart and one import."""
        return self.live - self.bare - self.imported


def main() -> None:
    """Measure both handovers in turn, several times, and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=20, help="starts of each phase on the server")
    given = parser.parse_args()
    count, handovers = (1, _HANDOVERS[:1]) if given.once else (given.rounds, _HANDOVERS)
    rounds: dict[str, list[Round]] = {handover: [] for handover in handovers}
    with _installation(handovers) as installation:
        for number in range(1, count + 1):
            for handover in handovers:
                rounds[handover].append(_round(installation, handover, f"{handover}-{number}"))
    print(f"a small Flask app with unchanged dependencies under circus, median seconds of {count} rounds\n")
    print(_table(rounds))
    print("\nseconds of a deployment's steps, as its record holds them\n")
    print(_steps_table(rounds))
    pushes, starts = (1, 1) if given.once else (given.rounds, given.starts)
    print(f"\n{can_boot() or server_tables(pushes, starts)}\n")
    print(machine("circus", "rq", "redis", "uv", git=first_line("git", "--version").split()[-1]))


@contextmanager
def _installation(handovers: Sequence[str]) -> Iterator[Installation]:
    """Run hookd with one app for each handover, its first version deployed."""
    with (
        tempfile.TemporaryDirectory(prefix="hookd-bench-") as name,
        Installation(Path(name)) as installation,
    ):
        for handover in handovers:
            repository = installation.add_app(handover, handover)
            repository.commit_and_push(_files("first"))
        installation.start()
        for handover in handovers:
            _succeeded(installation.push_and_wait(handover))
        yield installation


def _files(version: str) -> dict[str, str | bytes | None]:
    return {"wsgi.py": _WSGI.replace("@version@", version), "requirements.txt": _REQUIREMENTS}


def _round(installation: Installation, app: str, version: str) -> Round:
    installation.repositories[app].commit_and_push(_files(version))
    started = time.monotonic()
    deployment = installation.send_push(app)["deployment"]
    live = _answered(installation, app, lambda answer: answer.startswith(f"{version} ")) - started
    ended = _succeeded(installation.wait_for_ending(deployment))
    steps = {"(until the first)": (ended.steps[0].started_at - ended.created_at).total_seconds()}
    steps |= {step.name: step.seconds or 0.0 for step in ended.steps}
    return Round(live, _bare_restart(installation, app), _import(installation.current(app)), steps)


def _succeeded(deployment: Deployment) -> Deployment:
    if deployment.status is not Status.SUCCEEDED:
        raise SystemExit(f"{deployment.id} ended {deployment.status}: {deployment.cause}")
    return deployment


def _answered(installation: Installation, app: str, wanted: Callable[[str], bool]) -> float:
    """Request the public socket until it answers as wanted, and return the time."""
    end = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < end:
        if wanted(_ask(installation, app)):
            return time.monotonic()
        time.sleep(_PAUSE_SECONDS)
    raise SystemExit(f"{app} did not answer as it should within {_MOST_SECONDS:g} s")


def _ask(installation: Installation, app: str) -> str:
    """Send one request. A connection that the old process closed at its end counts as no answer."""
    try:
        return installation.serving(app)
    except (ConnectionError, http.client.HTTPException):
        return ""


def _bare_restart(installation: Installation, app: str) -> float:
    """Restart what serves now by hand, and wait for the first answer of its new process."""
    old = installation.serving(app)
    argv = python("-m", "circus.circusctl", "--endpoint", installation.endpoint, "restart", "--waiting")
    started = time.monotonic()
    with subprocess.Popen([*argv, _watcher(installation, app)], stdout=subprocess.DEVNULL) as circusctl:
        live = _answered(installation, app, lambda answer: answer not in ("", old)) - started
        if circusctl.wait(_MOST_SECONDS):
            raise SystemExit(f"{app} could not be restarted")
    return live


def _watcher(installation: Installation, app: str) -> str:
    """Name the service that serves: the colour whose link leads to the current release, or the app's only one."""
    current, root = installation.current(app), installation.root(app)
    colours = [colour for colour in ("blue", "green") if (root / colour).exists()]
    serving = [colour for colour in colours if (root / colour).resolve() == current]
    return f"{app}-{serving[0]}" if serving else app


def _import(release: Path) -> float:
    """Import the app once, as the check does."""
    started = time.monotonic()
    argv = [str(release / "venv" / "bin" / "gunicorn"), "--check-config", "wsgi:app"]
    subprocess.run(argv, cwd=release, check=True, timeout=_MOST_SECONDS)
    return time.monotonic() - started


def _table(rounds: dict[str, list[Round]]) -> str:
    rows = []
    for handover, many in rounds.items():
        live, bare = median(each.live for each in many), median(each.bare for each in many)
        imported = median(each.imported for each in many)
        more, most = median(each.more for each in many), max(each.more for each in many)
        row = [f"{seconds:.2f}" for seconds in (live, bare, imported, more, most)]
        rows.append((handover, *row, times(live, bare + imported)))
    return table(("handover", "push to live", "bare restart", "one import", "more", "most more", "x"), rows)


def _steps_table(rounds: dict[str, list[Round]]) -> str:
    names = list(dict.fromkeys(name for many in rounds.values() for each in many for name in each.steps))
    rows = [(name, *(_step(many, name) for many in rounds.values())) for name in names]
    return table(("step", *rounds), rows)


def _step(many: list[Round], name: str) -> str:
    found = [each.steps[name] for each in many if name in each.steps]
    return f"{median(found):.3f}" if found else "-"


if __name__ == "__main__":
    main()
