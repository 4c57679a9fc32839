"""The gunicorn that hookd adds to an environment."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import PROJECT
from tests.support.tasks import make_app
from worker.environment.server import GUNICORN, missing_packages, missing_setuptools
from worker.environment.source import Kind


def environment(directory: Path, *packages: str, python: str = "3.11") -> Path:
    for package in packages:
        (directory / "lib" / f"python{python}" / "site-packages" / f"{package}.dist-info").mkdir(parents=True)
    (directory / "lib" / f"python{python}").mkdir(parents=True, exist_ok=True)
    return directory


def missing(venv: Path, **over: Any) -> tuple[str, ...]:
    return missing_packages(make_app(venv, **over), venv)


def test_pin_is_that_of_hookd() -> None:
    pins = (PROJECT / "units" / "requirements.txt").read_text()
    assert re.search(rf"^gunicorn=={re.escape(GUNICORN)} ", pins, re.MULTILINE)


@pytest.mark.parametrize(
    ("packages", "python", "added"),
    [
        (["flask-3.1"], "3.11", [f"gunicorn=={GUNICORN}"]),
        (["gunicorn-20.1.0"], "3.12", [f"gunicorn=={GUNICORN}"]),
        (["gunicorn-23.0.0"], "3.10", [f"gunicorn=={GUNICORN}"]),
        (["gunicorn-24.1.0"], "3.11", []),
        (["gunicorn-100.0"], "3.11", []),
        ([], "3.9", ["gunicorn"]),
        (["gunicorn-20.1.0"], "3.9", []),
    ],
)
def test_gunicorn_of_hookd(tmp_path: Path, packages: list[str], python: str, added: list[str]) -> None:
    assert missing(environment(tmp_path, *packages, python=python)) == tuple(added)


@pytest.mark.parametrize(
    ("kind", "packages", "python", "added"),
    [
        ("list", ["flask-1.1"], "3.9", ["setuptools<81"]),
        ("poetry", ["fastapi-0.79"], "3.11", ["setuptools<81"]),
        ("list", ["setuptools-60.0"], "3.9", []),
        ("list", ["flask-1.1"], "3.12", []),
        ("uv", ["flask-1.1"], "3.9", []),
        ("none", [], "3.9", []),
    ],
)
def test_setuptools_of_old_environments(
    tmp_path: Path, kind: Kind, packages: list[str], python: str, added: list[str]
) -> None:
    assert missing_setuptools(kind, environment(tmp_path, *packages, python=python)) == tuple(added)


def test_own_gunicorn_stays(tmp_path: Path) -> None:
    own = {"dependencies": {"gunicorn": "own"}}
    assert missing(environment(tmp_path / "old", "gunicorn-20.1.0"), **own) == ()
    assert missing(environment(tmp_path / "none"), **own) == (f"gunicorn=={GUNICORN}",)


@pytest.mark.parametrize(
    ("worker_class", "packages", "added"),
    [
        ("asgi", ["starlette-1.0"], ["uvicorn", "uvicorn-worker"]),
        ("asgi", ["uvicorn-0.30", "uvicorn_worker-0.3"], []),
        ("gevent", [], ["gevent"]),
        ("eventlet", ["eventlet-0.40"], []),
        ("sync", [], []),
    ],
)
def test_packages_of_worker_class(tmp_path: Path, worker_class: str, packages: list[str], added: list[str]) -> None:
    venv = environment(tmp_path, "gunicorn-27.0.1", *packages)
    assert missing(venv, service={"worker_class": worker_class}) == tuple(added)


def test_own_unit_keeps_its_server(tmp_path: Path) -> None:
    service = {"manager": "systemd", "endpoint": None, "units": "existing"}
    assert missing(environment(tmp_path, "gunicorn-20.1.0"), service=service) == ()
