"""The end of a worker without a lost request, where gunicorn or uvicorn would lose some. Measured: docs/processes.md.

At its stop uvicorn closes each connection without a running request, also those whose request it has not read yet, and
forgets connections that it has accepted in the last moment. gunicorn's workers with greenlets ask the listener for its
name when they begin a connection. At their stop it is closed, and all that they accepted and did not begin is lost.
"""

from __future__ import annotations

from typing import Any

# A request follows its connection within this time. nginx sends both at once.
_FIRST_SECONDS = 2.0
_PAUSE_SECONDS = 0.05


def install(worker: Any) -> None:
    """Let a worker answer all accepted connections at its stop. Threads do so by themselves."""
    if hasattr(worker, "callback_notify"):
        from uvicorn.server import Server

        if not hasattr(Server.shutdown, "hookd"):
            Server.shutdown = _draining(Server.shutdown)
    elif hasattr(worker, "timeout_ctx"):
        _remember_names(worker)


def _remember_names(worker: Any) -> None:
    """Give connections of a worker with greenlets a listener that knows its name when it is closed."""
    names = {id(listener): _Named(listener.getsockname()) for listener in worker.sockets}
    handle = worker.handle

    def handle_named(listener: Any, client: Any, address: Any) -> None:
        handle(names.get(id(listener), listener), client, address)

    worker.handle = handle_named


class _Named:
    """All that gunicorn asks a listener for when it begins a connection."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def getsockname(self) -> Any:
        return self._name


def _draining(shutdown: Any) -> Any:
    import asyncio

    async def drained_shutdown(self: Any, sockets: Any = None) -> None:
        for server in self.servers:
            server.close()
        end = asyncio.get_running_loop().time() + _FIRST_SECONDS
        # The first pause lets the loop make the connections that it has accepted.
        await asyncio.sleep(_PAUSE_SECONDS)
        while asyncio.get_running_loop().time() < end and any(map(_is_new, list(self.server_state.connections))):
            await asyncio.sleep(_PAUSE_SECONDS)
        await shutdown(self, sockets=sockets)

    drained_shutdown.hookd = True  # type: ignore[attr-defined]
    return drained_shutdown


def _is_new(connection: Any) -> bool:
    """Return True for a connection whose first request has not been read. WebSockets have no such attribute."""
    return getattr(connection, "cycle", connection) is None
