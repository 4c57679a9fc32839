"""The packages that hookd adds to an environment: gunicorn, those of its worker classes, setuptools."""

import re
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from hookd.model.app import App
from worker.environment.source import Kind

# The version of units/requirements.txt. An older Python gets the newest that fits.
GUNICORN: Final = "27.0.1"
_OLDEST_PYTHON: Final = (3, 10)
# With threads, an older one cuts off connections when it stops.
_OLDEST_GUNICORN: Final = (24, 1)
_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "asgi": ("uvicorn", "uvicorn-worker"),
    "gevent": ("gevent",),
    "eventlet": ("eventlet",),
}
# Older versions of `venv` brought setuptools along, and old packages import its pkg_resources without asking for it.
# Later versions of setuptools do not have it (https://setuptools.pypa.io/en/latest/pkg_resources.html).
_SETUPTOOLS: Final = "setuptools<81"
_FIRST_WITHOUT_SETUPTOOLS: Final = (3, 12)
_INFO: Final = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.dist-info")


def _packages_of(venv: Path) -> dict[str, str]:
    """Return the packages of an environment with their versions, from the names of their directories."""
    places = [path.name for path in venv.glob("lib/python3.*/site-packages/*.dist-info")]
    found = [match for name in places if (match := _INFO.fullmatch(name))]
    return {canonicalize_name(match["name"]): match["version"] for match in found}


def missing_packages(app: App, venv: Path) -> tuple[str, ...]:
    """Return the requirements that the app's server needs besides those of the commit."""
    if not app.runs_gunicorn:
        return ()
    there = _packages_of(venv)
    more = tuple(name for name in _CLASSES.get(app.service.worker_class, ()) if name not in there)
    return (*_gunicorn(app, venv, there.get("gunicorn")), *more)


def missing_setuptools(kind: Kind, venv: Path) -> tuple[str, ...]:
    """Return setuptools for a list of packages that was made with pip and a Python that had it."""
    is_of_pip = kind in ("list", "hashed", "locked", "poetry", "project")
    is_old = _python_version(venv) < _FIRST_WITHOUT_SETUPTOOLS
    return (_SETUPTOOLS,) if is_of_pip and is_old and "setuptools" not in _packages_of(venv) else ()


def _gunicorn(app: App, venv: Path, version: str | None) -> tuple[str, ...]:
    if version is not None and (app.dependencies.gunicorn == "own" or _numbers(version) >= _OLDEST_GUNICORN):
        return ()
    newest = f"gunicorn=={GUNICORN}" if _python_version(venv) >= _OLDEST_PYTHON else "gunicorn"
    return () if newest == "gunicorn" and version else (newest,)


def describe_addition(venv: Path, added: tuple[str, ...]) -> str:
    """Return the line for the log."""
    old = _packages_of(venv).get("gunicorn")
    is_old = any(name.startswith("gunicorn") for name in added) and old
    why = f"the environment has gunicorn {old}, which drops requests when it stops" if is_old else "it has none"
    return f"hookd adds {' and '.join(added)} to the environment, because {why}"


def _python_version(venv: Path) -> tuple[int, ...]:
    return max((_numbers(path.name.removeprefix("python")) for path in venv.glob("lib/python3.*")), default=(0,))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
