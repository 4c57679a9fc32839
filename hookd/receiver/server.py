"""Runs the receiver with gunicorn: a process with several threads, or several of them below a master.

One process needs no master, which would hold a copy of the application. systemd starts it again if it ends.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from flask import Flask
from gunicorn import sock, systemd
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
    return _build_app(_build_receiver(config))


def _build_receiver(config: Config) -> Receiver:
    secrets = read_all_secrets(config.settings.receiver.secrets, config.catalogue)
    store = _store(config, "receiver")
    _ = store.queue  # gunicorn forks with RQ imported, so that the first push does not wait for it.
    return Receiver(config, secrets, store, RefusalLog(store.connection))


def _build_app(receiver: Receiver) -> Flask:
    return create_app(receiver, load_read_access(receiver.config), _store(receiver.config, "status"))


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


class _OnlyWorker(_Worker):
    """The only process. systemd watches it in place of a master, and its parent may end before it."""

    _notify_at = 0.0

    def is_parent_alive(self) -> bool:
        return True

    def notify(self) -> None:
        """Report to systemd that this process does not hang. gunicorn calls it at least once a second."""
        if time.monotonic() >= self._notify_at:
            self._notify_at = time.monotonic() + self.timeout / 4
            systemd.sd_notify("WATCHDOG=1", self.log)


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
    receiver = _build_receiver(config)
    server = _Server(_build_app(receiver), options)
    if settings.processes > 1:
        server.run()
    else:
        _serve_alone(server, receiver.refusal_log)


def _serve_alone(server: _Server, refusal_log: RefusalLog) -> NoReturn:
    """Serve in this process until a signal.

    Python would wait for the threads of requests that exceed their time, so the process ends without its exit handlers.
    """
    cfg, log = server.cfg, _GunicornLogger(server.cfg)
    inherited, first = systemd.listen_fds(), systemd.SD_LISTEN_FDS_START
    listeners = sock.create_sockets(cfg, log, range(first, first + inherited))
    names = [listener.getsockname() for listener in listeners]
    log.info("Listening at: %s (%s)", ",".join(map(str, listeners)), os.getpid())
    worker = _OnlyWorker(1, os.getppid(), listeners, server, cfg.timeout, cfg, log)
    systemd.sd_notify(f"READY=1\nWATCHDOG_USEC={cfg.timeout * 1_000_000}", log)
    with suppress(SystemExit):
        worker.init_process()
    for name in names:
        if isinstance(name, str) and not inherited:
            Path(name).unlink(missing_ok=True)
    refusal_log.flush()
    os._exit(0)
