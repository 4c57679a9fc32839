"""The variables of the phases' commands."""

import os
from pathlib import Path
from typing import Final

from hookd.model.phase import Phase
from worker.context import AppTask, Task
from worker.process.run import SYSTEM_PATH

# Variables of the host that package tools need: certificates, proxies and the package index.
_HOST_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
_HOST_PREFIXES: Final = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_OFFLINE")


def host_variables() -> dict[str, str]:
    """Return the worker's own variables that package tools need."""
    return {k: v for k, v in os.environ.items() if k in _HOST_VARIABLES or k.startswith(_HOST_PREFIXES)}


def command_environment(task: Task, phase: Phase, release: Path) -> dict[str, str]:
    """Return the variables of a command of the app: those of the build, or else those of the service."""
    own = task.build_variables if phase == "build" else task.service_variables
    return {**release_environment(task, release), "HOOKD_COMMIT": task.deployment.commit or "", **own}


def release_environment(task: AppTask, release: Path) -> dict[str, str]:
    """Return the variables of each command in a release, without the app's own."""
    return {
        "PATH": f"{release / 'venv' / 'bin'}:{SYSTEM_PATH}",
        **_common(task),
        "PYTHONUNBUFFERED": "1",
        "HOOKD_APP": task.app.name,
        "HOOKD_RELEASE": release.name,
    }


def install_environment(task: Task) -> dict[str, str]:
    """Return the variables of uv: a cache of the app's own and no configuration file."""
    return {
        "PATH": SYSTEM_PATH,
        **_common(task),
        "UV_CACHE_DIR": str(task.paths.cache / "uv"),
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_PREFERENCE": "only-system",
        "UV_LINK_MODE": "copy",  # With hard links into the cache, one venv could change all others.
        "UV_COMPILE_BYTECODE": "1",  # The app cannot write to its venv. The first import is three times faster.
        "UV_NO_PROGRESS": "1",
        **host_variables(),
        **task.app.dependencies.environment,
    }


def _common(task: AppTask) -> dict[str, str]:
    return {"HOME": str(task.paths.cache / "home"), "LANG": "C.UTF-8"}
