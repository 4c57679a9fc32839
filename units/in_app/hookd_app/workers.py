"""The choice of gunicorn's worker class and of its numbers."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Iterator

from gunicorn import version_info

if TYPE_CHECKING:
    from argparse import Namespace

    from hookd_app.program import Settings

# The same as hookd's keys. A test compares them.
DEFAULTS = {"worker_class": "gthread", "workers": 2, "threads": 4}
# From, to: at a stop their threads close connections whose request they have not read yet.
_LOSSY_THREADS = ((21, 0), (24, 1))
_FIRST_ASGI = (25, 0)


def choose_workers(cfg: Settings, wanted: Namespace) -> Iterator[str]:
    """Choose class, processes and threads: from the app's hookd file, the app's settings, the defaults.

    Yields notes for the log. Raises ValueError if the environment has no worker of this class.
    """
    for name, default in DEFAULTS.items():
        value = getattr(wanted, name)
        is_given = name in cfg.given or (name == "workers" and "WEB_CONCURRENCY" in os.environ)
        if value is None and name == "threads" and not is_given:
            value = default if _class_name(cfg) == "gthread" else 1
        elif value is None and not is_given:
            value = default
        if value is not None:
            cfg.keep(name, value)
    if _class_name(cfg) == "asgi":
        cfg.keep("worker_class", _asgi_class())
    is_threaded = _class_name(cfg) == "gthread" or (_class_name(cfg) == "sync" and cfg.threads > 1)
    if is_threaded and _LOSSY_THREADS[0] <= tuple(version_info[:2]) < _LOSSY_THREADS[1]:
        cfg.keep("worker_class", "sync")
        cfg.keep("threads", 1)
        version = ".".join(map(str, version_info))
        yield f"gunicorn {version} loses requests of threads at a stop, so each process has one (24.1 does not)"


def _class_name(cfg: Settings) -> object:
    return cfg.settings["worker_class"].get()


def _asgi_class() -> str:
    """Return gunicorn's own class for ASGI, or uvicorn's for an older gunicorn. Raises ValueError without any."""
    if tuple(version_info[:2]) >= _FIRST_ASGI:
        return "asgi"
    for module in ("uvicorn_worker", "uvicorn.workers"):
        if find_spec(module.split(".", maxsplit=1)[0]):
            return f"{module}.UvicornWorker"
    raise ValueError("service.worker_class asgi needs gunicorn 25 or newer, or uvicorn-worker, in the environment")
