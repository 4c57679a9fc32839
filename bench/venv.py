"""Seconds to build an app's virtual environment as hookd does with uv, beside `python -m venv` and `pip install`."""

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
from hookd.model.app import App, Health
from hookd.model.deployment import Deployment, Trigger
from hookd.model.ids import new_deployment_id
from hookd.model.settings import Settings
from hookd.queue.deployments import DeploymentStore
from worker.context import Task
from worker.phase.environment import install_environment
from worker.process.run import Command, run
from worker.release.requirements import Requirements
from worker.release.venv import VenvCommands, find_python, find_uv
from worker.report.log import LogFile, Recorder, Redaction
from worker.variables import build_variables, service_variables

_WANTED: Final = ("gunicorn", "flask", "sqlalchemy", "requests")


@dataclass(frozen=True)
class Way:
    """A way to build the environment. Without `uv` it is Python's own venv and pip."""

    uv: Path | None
    cold: bool
    extra: Mapping[str, str]


def main() -> None:
    """Build the environment in every way in turn, several times, and print the table."""
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
    print(f"{packages} packages with hashes, for {', '.join(wanted)}, median of {count} rounds")
    print("`x faster` compares with the last line\n")
    print(_table(seconds))
    print()
    print(machine("uv", pip=first_line(sys.executable, "-m", "pip", "--version").split()[1]))


def _task(directory: Path) -> Task:
    """Make what hookd's own step is given, so that the tools get exactly hookd's variables and limits."""
    app = App(
        name="shop",
        repository="https://git.example.org/acme/shop.git",
        full_name="acme/shop",
        root=directory / "srv",
        health=Health.model_validate({"url": "http://127.0.0.1:8000/healthz"}),
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
    argv = (str(uv), "pip", "compile", "--quiet", "--generate-hashes", "--python", str(find_python(task)))
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
    commands = VenvCommands(uv, find_python(task), venv, file.parent, task.app.limits, env)
    install = commands.install(Requirements("hashed", file, ()))
    return [commands.create(), *([install] if install else [])]


def _pip_commands(task: Task, file: Path, venv: Path, env: Mapping[str, str]) -> list[Command]:
    """Do the same with Python's own venv and pip."""
    limits = task.app.limits
    pip = (str(venv / "bin" / "python"), "-m", "pip", "install", "--no-input", "--only-binary", ":all:")
    both = ((str(find_python(task)), "-m", "venv", "--", str(venv)), (*pip, "--require-hashes", "-r", str(file)))
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
