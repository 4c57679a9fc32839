"""hookd's hooks of gunicorn. Each also calls the app's hook of the same name."""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING, Any, Callable

from gunicorn.systemd import sd_notify

from hookd_app import drain, gate, refusal

if TYPE_CHECKING:
    from hookd_app.program import Settings

# 1 for each worker that ended by itself, by its age. Shared by all workers.
_ended = mmap.mmap(-1, 4096)


def add_to(cfg: Settings) -> None:
    """Add hookd's hooks to those of the app."""

    def own(name: str) -> Callable[..., Any]:
        hook: Callable[..., Any] = cfg.settings[name].get()
        return hook

    ready, init, left, reaped = own("when_ready"), own("post_worker_init"), own("worker_exit"), own("child_exit")

    def when_ready(server: Any) -> None:
        _publish(server)
        refusal.publish_at_end(server)
        ready(server)

    def post_worker_init(worker: Any) -> None:
        # The app's hook comes first, because the health page may need it.
        init(worker)
        drain.install(worker)
        gate.check_worker(worker)

    def worker_exit(server: Any, worker: Any) -> None:
        _ended[worker.age % len(_ended)] = 1
        refusal.note_end(worker)
        left(server, worker)

    def child_exit(server: Any, worker: Any) -> None:
        _report_kill(server, worker)
        reaped(server, worker)

    for hook in (when_ready, post_worker_init, worker_exit, child_exit):
        cfg.keep(hook.__name__, hook)


def _publish(server: Any) -> None:
    """Publish the release's path, and keep gunicorn from deleting the path of an inherited socket."""
    sd_notify(f"STATUS=release {os.getcwd()}", server.log)
    if not gate.HEALTH_PATH:
        server.log.warning("HOOKD_HEALTH_PATH is not set: workers take requests without a health check")
    server.systemd = server.systemd or any(bind.startswith("fd://") for bind in server.cfg.bind)


def _report_kill(server: Any, worker: Any) -> None:
    """Report a worker that a signal ended to systemd, because hookd blames no commit for it (EINTR)."""
    place = worker.age % len(_ended)
    if not _ended[place]:
        sd_notify(f"ERRNO={errno.EINTR}", server.log)
    _ended[place] = 0
