"""Runs the receiver under gunicorn: a few processes of several threads, no control socket."""

import logging
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from hookd.app import Receiver, create_app
from hookd.secrets import read_keyring
from hookd.status import readers_from
from hookd.store.config import Config
from hookd.store.connection import impatient
from hookd.store.records import Records


def build(config: Config) -> Flask:
    """Build the receiver's application from its configuration; raises ConfigError and OSError."""
    settings = config.settings
    records = Records(impatient(settings.redis.url), keep_seconds=settings.history_seconds)
    keyring = read_keyring(settings.receiver.secrets, config.catalogue)
    return create_app(Receiver(config, keyring, records), readers_from(config))


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, app: Flask, options: dict[str, Any]) -> None:
        self._app = app
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app


def serve(config: Config) -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    settings = config.settings.receiver
    options = {
        "bind": settings.bind,
        "workers": settings.processes,
        "threads": settings.threads,
        "worker_class": "gthread",
        "preload_app": True,
        "control_socket_disable": True,
        "timeout": 60,
        "graceful_timeout": 10,
        "keepalive": 5,
        "proc_name": "hookd-receiver",
    }
    _Server(build(config), options).run()
