"""Runs the receiver under gunicorn: a few processes with several threads each, without a control socket."""

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
from hookd.credentials import Role, read_all_secrets, redis_user
from hookd.queue.client import RECEIVER_TOTAL_SECONDS, receiver_client
from hookd.queue.deployments import DeploymentStore
from hookd.receiver import signed_request
from hookd.receiver.app import Receiver, create_app
from hookd.receiver.refusal_log import RefusalLog
from hookd.receiver.status_routes import load_read_access


def build(config: Config) -> Flask:
    """Build the receiver's application. Raises ConfigError and OSError."""
    secrets = read_all_secrets(config.settings.receiver.secrets, config.catalogue)
    store = _store(config, "receiver")
    _ = store.queue  # gunicorn forks with RQ imported, so that the first push does not wait for it.
    receiver = Receiver(config, secrets, store, RefusalLog(store.connection))
    return create_app(receiver, load_read_access(config), _store(config, "status"))


def _store(config: Config, role: Role) -> DeploymentStore:
    connection = receiver_client(config.settings.redis.url, redis_user(config, role))
    keep_seconds = config.settings.history_seconds
    return DeploymentStore(connection, keep_seconds=keep_seconds, timeout_seconds=RECEIVER_TOTAL_SECONDS)


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


class _GunicornLogger(Logger):  # type: ignore[misc]
    """Writes gunicorn's messages in the format of hookd's events."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(eventlog.choose_formatter())


class _Worker(ThreadWorker):  # type: ignore[misc]
    """Closes connections whose request takes too long to arrive.

    gunicorn has no time limit for a request's head, so a few clients that send one byte now and then would hold every
    thread. nginx limits this too, but the receiver does not rely on it.
    """

    def init_process(self) -> None:
        self._deadlines: dict[Any, float] = {}
        threading.Thread(target=self._close_late_connections, daemon=True).start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        self._deadlines[conn] = time.monotonic() + signed_request.max_seconds(0)
        try:
            return super().handle(conn)
        finally:
            self._deadlines.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        length = int(dict(req.headers).get("CONTENT-LENGTH", 0))
        self._deadlines[conn] = time.monotonic() + signed_request.max_seconds(length)
        return super().handle_request(req, conn)

    def _close_late_connections(self) -> None:
        while True:
            time.sleep(1)
            now = time.monotonic()
            for conn, deadline in list(self._deadlines.items()):
                if now > deadline:
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RDWR)


def serve(config: Config) -> None:
    """Run the receiver until SIGTERM."""
    eventlog.start()
    settings = config.settings.receiver
    options = {
        "bind": settings.bind,
        "workers": settings.processes,
        "threads": settings.threads,
        "worker_class": _Worker,
        # By default gunicorn obeys a client's `SCRIPT_NAME:` header, or answers it with a 500.
        "forwarder_headers": "",
        "logger_class": _GunicornLogger,
        "preload_app": True,
        "control_socket_disable": True,
        "timeout": 60,
        "graceful_timeout": 10,
        "keepalive": 5,
        "proc_name": "hookd-receiver",
    }
    _Server(build(config), options).run()
