"""Runs the receiver under gunicorn: a few processes of several threads, no control socket."""

import socket
import threading
import time
from contextlib import suppress
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from hookd import eventlog
from hookd.config import Config
from hookd.credentials import Role, redis_user
from hookd.queue.client import RECEIVER_TOTAL_SECONDS, receiver_client
from hookd.queue.deployments import DeploymentStore
from hookd.receiver import signed_request
from hookd.receiver.app import Receiver, create_app
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.secrets import read_keyring
from hookd.receiver.status_routes import load_read_access


def build(config: Config) -> Flask:
    """Build the receiver's application from its configuration; raises ConfigError and OSError."""
    keyring = read_keyring(config.settings.receiver.secrets, config.catalogue)
    records = _records(config, "receiver")
    receiver = Receiver(config, keyring, records, RefusalLog(records.connection))
    return create_app(receiver, load_read_access(config), _records(config, "status"))


def _records(config: Config, role: Role) -> DeploymentStore:
    connection = receiver_client(config.settings.redis.url, redis_user(config, role))
    return DeploymentStore(
        connection, keep_seconds=config.settings.history_seconds, timeout_seconds=RECEIVER_TOTAL_SECONDS
    )


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


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's own words in the form of hookd's events."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(eventlog.choose_formatter())


class _Worker(ThreadWorker):  # type: ignore[misc]
    """Stops waiting for a client whose request takes too long to arrive.

    gunicorn waits for ever for the head of a request, and a client that sends one byte now and then is never silent:
    a handful of them would hold every thread. nginx in front does this, too; the receiver does not rely on it.
    """

    def init_process(self) -> None:
        self._ends: dict[Any, float] = {}
        threading.Thread(target=self._watch, daemon=True).start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        self._ends[conn] = time.monotonic() + signed_request.max_seconds(0)
        try:
            return super().handle(conn)
        finally:
            self._ends.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        length = int(dict(req.headers).get("CONTENT-LENGTH", 0))
        self._ends[conn] = time.monotonic() + signed_request.max_seconds(length)
        return super().handle_request(req, conn)

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            now = time.monotonic()
            for conn, end in list(self._ends.items()):
                if now > end:
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RDWR)


def serve(config: Config) -> None:
    """Serve until told to stop."""
    eventlog.start()
    settings = config.settings.receiver
    options = {
        "bind": settings.bind,
        "workers": settings.processes,
        "threads": settings.threads,
        "worker_class": _Worker,
        # Otherwise a client's own `SCRIPT_NAME:` header is obeyed, or ends in a 500.
        "forwarder_headers": "",
        "logger_class": _Log,
        "preload_app": True,
        "control_socket_disable": True,
        "timeout": 60,
        "graceful_timeout": 10,
        "keepalive": 5,
        "proc_name": "hookd-receiver",
    }
    _Server(build(config), options).run()
