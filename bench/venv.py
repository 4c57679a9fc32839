"""Seconds to build an app's virtual environment as hookd does with uv, beside `python -m venv` and `pip install`.

A second table shows one changed package of a large environment: linked from the one before, and from nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from redis import Redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import first_line, machine, options, table, times
from hookd.files.build_owner import COMPLETE_MARK
from hookd.files.ownership.policies import Policy
from hookd.model.app import App
from hookd.model.deployment import Deployment, Trigger
from hookd.model.ids import new_deployment_id
from hookd.model.settings import Settings
from hookd.model.tables.files import Ownership
from hookd.model.tables.health import Health
from hookd.model.tables.service import Service
from hookd.queue.deployments import DeploymentStore
from worker.context import Task
from worker.environment.commands import VenvCommands
from worker.environment.prepare import find_uv, prepare_venv
from worker.environment.python import default_python
from worker.environment.source import Source
from worker.phase.environment import install_environment
from worker.process.run import Command, run
from worker.release.ownership import make_directories, release_policy
from worker.report.log import LogFile, Recorder, Redaction
from worker.variables import build_variables, service_variables

_WANTED: Final = ("gunicorn", "flask", "sqlalchemy", "requests")
_LARGE: Final = (
    *_WANTED, "pandas", "scipy", "boto3", "lxml", "redis", "rq", "celery", "alembic", "pillow", "cryptography",
)  # fmt: skip
# One package in two versions, the newest and the one before.
_CHANGED: Final = ("idna==3.10", "idna==3.9")


@dataclass(frozen=True)
class Way:
    """A way to build the environment. Without `uv` it is Python's own venv and pip."""

    uv: Path | None
    cold: bool
    extra: Mapping[str, str]


def main() -> None:
    """Build the environment in every way in turn, several times, and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    count, wanted = (1, ("packaging",)) if given.once else (given.rounds, _WANTED)
    with tempfile.TemporaryDirectory(prefix="hookd-bench-") as name:
        directory = Path(name)
        task = _task(directory)
        uv = find_uv(task)
        file = _locked(directory, uv, task, wanted)
        ways = _ways(uv)
        if given.once:  # The first and its peer.
            ways = dict([*ways.items()][:: len(ways) - 1])
        seconds: dict[str, list[float]] = {label: [] for label in ways}
        for label, way in ways.items():
            if not way.cold and not given.once:
                _build(task, way, file, directory / "fill" / label.replace(" ", "-"))
        for number in range(count):
            for label, way in ways.items():
                venv = directory / "venvs" / f"{number}-{label.replace(' ', '-')}"
                seconds[label].append(_build(task, way, file, venv))
                shutil.rmtree(venv)
        packages = file.read_text().count("==")
        changes = _changes(task, uv, () if given.once else _LARGE, count)
    print(f"{packages} packages with hashes, for {', '.join(wanted)}, median of {count} rounds")
    print("`x faster` compares with the last line\n")
    print(_table(seconds))
    print(f"\none changed package of a large environment, with all steps of hookd, median of {count} rounds\n")
    print(table(("way", "seconds", "least", "most", "MiB on disk", "files"), changes))
    print()
    print(machine("uv", pip=first_line(sys.executable, "-m", "pip", "--version").split()[1]))


def _changes(task: Task, uv: Path, packages: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Change one package of an environment, linked and from nothing, and return the rows of the table."""
    policy = release_policy(task.app.ownership)
    task.paths.root.mkdir()
    make_directories(task, policy)
    files = [_locked(task.paths.home, uv, task, (*packages, one)).read_bytes() for one in _CHANGED]
    rows: list[tuple[str, ...]] = []
    for label, keeps_base in (("linked from the one before", True), ("from nothing", False)):
        made = [_change(task, policy, files, keeps_base=keeps_base) for _ in range(count)]
        seconds = [one[0] for one in made]
        about = (f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}")
        rows.append((label, *about, f"{made[0][1]:.0f}", str(made[0][2])))
    return rows


def _change(task: Task, policy: Policy, files: Sequence[bytes], *, keeps_base: bool) -> tuple[float, float, int]:
    """Return the seconds for the second list of packages after the first, its own MiB and its files."""
    for place in (task.paths.venvs, task.paths.releases):
        shutil.rmtree(place)
        place.mkdir()
    first = _prepare(task, policy, "r1", files[0])
    if not keeps_base:
        (first / COMPLETE_MARK).unlink()
    os.sync()
    started = time.monotonic()
    second = _prepare(task, policy, "r2", files[1])
    seconds = time.monotonic() - started
    new = [path.lstat() for path in second.rglob("*") if path.is_file() and path.lstat().st_nlink == 1]
    return seconds, sum(found.st_blocks for found in new) * 512 / 1024 / 1024, sum(1 for _ in second.rglob("*"))


def _prepare(task: Task, policy: Policy, name: str, content: bytes) -> Path:
    release = task.paths.release(name)
    release.mkdir()
    (release / "requirements.txt").write_bytes(content)
    return prepare_venv(task, release, policy)


def _task(directory: Path) -> Task:
    """Make what hookd's own step is given, so that the tools get exactly hookd's variables and limits."""
    app = App(
        name="shop",
        repository="https://git.example.org/acme/shop.git",
        full_name="acme/shop",
        root=directory / "srv",
        health=Health.model_validate({"url": "http://127.0.0.1:8000/healthz"}),
        service=Service.model_validate({"manager": "circus", "endpoint": "ipc:///nowhere"}),
        ownership=Ownership(policy="split"),
    )
    settings = Settings(state=directory / "state")
    at = datetime.now(UTC)
    deployment = Deployment(id=new_deployment_id(app.name, at), app=app.name, trigger=Trigger.MANUAL, created_at=at)
    log = LogFile(settings.log_path(app.name, deployment.id), Redaction({}))
    recorder = Recorder(deployment, DeploymentStore(Redis(), keep_seconds=1), log)
    task = Task(
        app=app,
        settings=settings,
        recorder=recorder,
        build_variables=build_variables(app),
        service_variables=service_variables(app),
        freeze_directory=directory / "frozen",
    )
    task.paths.home.mkdir(parents=True)
    return task


def _locked(directory: Path, uv: Path, task: Task, packages: Sequence[str]) -> Path:
    """Pin the packages with hashes, without filling a measured cache."""
    wanted, file = directory / "requirements.in", directory / "requirements.txt"
    wanted.write_text("\n".join(packages))
    argv = (str(uv), "pip", "compile", "--quiet", "--generate-hashes", "--python", str(default_python(task)))
    env = {**install_environment(task), "UV_CACHE_DIR": str(directory / "compile-cache")}
    subprocess.run([*argv, "--output-file", str(file), str(wanted)], env=env, check=True, timeout=300)
    return file


def _ways(uv: Path) -> dict[str, Way]:
    plain = {"UV_COMPILE_BYTECODE": "0"}
    return {
        "uv as hookd calls it, warm": Way(uv, False, {}),
        "uv as hookd calls it, cold": Way(uv, True, {}),
        "uv without bytecode, warm": Way(uv, False, plain),
        "uv without bytecode, cold": Way(uv, True, plain),
        "venv + pip, cold": Way(None, True, {}),
        "venv + pip, warm": Way(None, False, {}),
    }


def _build(task: Task, way: Way, file: Path, venv: Path) -> float:
    """Build one environment and return the seconds it took."""
    env = {**install_environment(task), **way.extra}
    if way.cold:
        empty = file.parent / "cold-cache"
        shutil.rmtree(empty, ignore_errors=True)
        env |= {"UV_CACHE_DIR": str(empty), "PIP_CACHE_DIR": str(empty)}
    venv.parent.mkdir(parents=True, exist_ok=True)
    os.sync()  # What the round before has written is not this one's to wait for.
    commands = _uv_commands(way.uv, task, file, venv, env) if way.uv else _pip_commands(task, file, venv, env)
    started = time.monotonic()
    for command in commands:
        run(command, task.recorder.line)
    return time.monotonic() - started


def _uv_commands(uv: Path, task: Task, file: Path, venv: Path, env: Mapping[str, str]) -> list[Command]:
    source, python = Source("pylock", file, file.parent), default_python(task)
    commands = VenvCommands(uv, python, python, venv, task.app, source, env)
    return [commands.create(), *commands.install()]


def _pip_commands(task: Task, file: Path, venv: Path, env: Mapping[str, str]) -> list[Command]:
    """Do the same with Python's own venv and pip."""
    limits = task.app.limits
    pip = (str(venv / "bin" / "python"), "-m", "pip", "install", "--no-input", "--only-binary", ":all:")
    both = ((str(default_python(task)), "-m", "venv", "--", str(venv)), (*pip, "--require-hashes", "-r", str(file)))
    outer = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    variables = {**outer, **env, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return [Command(argv, limits.step_seconds, limits.silence_seconds, file.parent, variables) for argv in both]


def _table(seconds: dict[str, list[float]]) -> str:
    peer = median(list(seconds.values())[-1])
    rows = [
        (label, *(f"{value:.2f}" for value in (median(many), min(many), max(many))), times(peer, median(many)))
        for label, many in seconds.items()
    ]
    return table(("way", "seconds", "least", "most", "x faster"), rows)


if __name__ == "__main__":
    main()
