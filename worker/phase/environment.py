"""The variables of the phases' commands."""

import os
from pathlib import Path
from typing import Final

from hookd.model.units.phases import Phase
from worker.context import AppTask, Task
from worker.process.run import SYSTEM_PATH

# Each program knows another spelling of these. curl and git read `http_proxy` in lower case alone.
_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
# The host's own certificates, by program: OpenSSL, uv and Python, git, requests, curl, pip, node.
_CERTIFICATES: Final = (
    "SSL_CERT_FILE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
)
_OTHERS: Final = ("SSL_CERT_DIR", "GIT_SSL_CAPATH", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
_UV_PREFIXES: Final = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_OFFLINE")
# It holds an empty configuration of uv. uv reads the host's own only if it finds none here.
_UV_CONFIG: Final = Path(__file__).parents[1] / "environment" / "uv_config"


def host_variables() -> dict[str, str]:
    """Return the worker's own variables for the package index, and those of `network_variables`."""
    return {**network_variables(), **{k: v for k, v in os.environ.items() if k.startswith(_UV_PREFIXES)}}


def network_variables() -> dict[str, str]:
    """Return the worker's own proxies and certificates, in the spellings of git, uv, pip, curl and node."""
    found = {name: os.environ[name] for name in _OTHERS if name in os.environ}
    for name in _PROXIES:
        value = os.environ.get(name, os.environ.get(name.lower()))
        found |= {name: value, name.lower(): value} if value is not None else {}
    named = [name for name in _CERTIFICATES if name in os.environ]
    for name in _CERTIFICATES if named else ():
        found[name] = os.environ.get(name, os.environ[named[0]])
    return found


def command_environment(task: Task, phase: Phase, release: Path) -> dict[str, str]:
    """Return the variables of a command of the app: those of the build, or else those of the service."""
    own = {**network_variables(), **task.build_variables} if phase == "build" else task.service_variables
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
    """Return the variables of uv: a cache of the app's own, and the project's configuration without the host's."""
    return {
        "PATH": SYSTEM_PATH,
        **_common(task),
        "UV_CACHE_DIR": str(task.paths.cache / "uv"),
        "XDG_CONFIG_HOME": str(_UV_CONFIG),
        "XDG_CONFIG_DIRS": str(_UV_CONFIG),
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
