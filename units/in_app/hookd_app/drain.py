"""The end of uvicorn's worker without a lost request.

At its stop uvicorn closes each connection without a running request, also those whose request it has not read yet, and
forgets connections that it has accepted in the last moment. Measured: docs/apps.md.
"""

from __future__ import annotations

from typing import Any

# A request follows its connection within this time. nginx sends both at once.
_FIRST_SECONDS = 2.0
_PAUSE_SECONDS = 0.05


def install(worker: Any) -> None:
    """Let a uvicorn worker answer all accepted connections at its stop. Other workers do so by themselves."""
    if not hasattr(worker, "callback_notify"):
        return
    from uvicorn.server import Server

    if not hasattr(Server.shutdown, "hookd"):
        Server.shutdown = _draining(Server.shutdown)


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
