"""A health request to an ASGI app in its own process and event loop, after its startup and before it takes requests.

A server tells an app of its start by a `lifespan` scope (asgi.readthedocs.io/en/latest/specs/lifespan.html), and
listens after the app's answer. So the request comes between the app's answer and the server.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import traceback
from typing import Any, Awaitable, Callable, Mapping
from urllib.parse import unquote

from hookd_app import gate, refusal, wsgi

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def install(worker: Any) -> None:
    """Put the gate before a worker's app."""
    config = getattr(worker, "config", None)
    own = getattr(worker.cfg, "asgi_lifespan", "auto") if config is None else config.lifespan
    if config is None:
        worker.cfg.settings["asgi_lifespan"].set("on")
        worker.asgi = Gate(worker, worker.asgi, has_lifespan=own != "off")
        # asyncio would let a hundred connections wait at the sockets, and refuse others during a handover.
        worker.loop.create_server = functools.partial(worker.loop.create_server, backlog=worker.cfg.backlog)
    else:  # uvicorn
        config.lifespan = "on"
        worker.wsgi = Gate(worker, worker.wsgi, has_lifespan=own != "off")


class Gate:
    """An ASGI app that lets another one start only with a good health page."""

    def __init__(self, worker: Any, app: Any, *, has_lifespan: bool) -> None:
        self._worker, self._app, self._has_lifespan = worker, app, has_lifespan

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Pass a request to the app, or judge its start."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        judged = False

        async def judging_send(message: Message) -> None:
            nonlocal judged
            judged = judged or message["type"].startswith("lifespan.startup")
            await send(await self._verdict(scope) if message["type"] == "lifespan.startup.complete" else message)

        try:
            if self._has_lifespan:
                await self._app(scope, receive, judging_send)
        except Exception:
            if judged:
                raise
            # Most apps without a lifespan raise here, as the specification tells them.
        if not judged:
            await send(await self._verdict(scope))
            while (await receive())["type"] != "lifespan.shutdown":
                pass
            await send({"type": "lifespan.shutdown.complete"})

    async def _verdict(self, scope: Any) -> Message:
        """Request the health page, and return the answer to the server's question for the start."""
        worker = self._worker
        with refusal.noted_errors() as raised:
            status = await _check(self._app, dict(scope.get("state") or {}), gate.seconds(worker), raised)
        why = gate.judge(worker, status, raised)
        if why is None:
            return {"type": "lifespan.startup.complete"}
        worker.log.error(why)
        return {"type": "lifespan.startup.failed", "message": why}


async def _check(app: Any, state: dict[str, Any], seconds: int, raised: list[BaseException]) -> str:
    """Return the page's status: 500 if it raises, which `raised` takes, NO_ANSWER after `seconds`.

    The limit counts without an await, too.
    """
    signal.signal(signal.SIGALRM, wsgi.raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, seconds + 0.5, 1)
    try:
        return await asyncio.wait_for(_request_status(app, state), seconds)
    except (asyncio.TimeoutError, wsgi.HealthTimeout):
        return wsgi.NO_ANSWER
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raised.append(error)
        return "500"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


async def _request_status(app: Any, state: dict[str, Any]) -> str:
    answer: list[str] = []
    asked, answered = [False], asyncio.Event()

    async def receive() -> Message:
        if not asked[0]:
            asked[0] = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.append(str(message["status"]))
        elif not message.get("more_body"):
            answered.set()

    await app(_scope(state), receive, send)
    return answer[-1] if answer else "nothing"


def _scope(state: dict[str, Any]) -> dict[str, Any]:
    path, query, headers = gate.request()
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": headers["X-Forwarded-Proto"],
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 443),
        "state": state,
    }
