"""Floods of the receiver: ten thousand pushes to one app, slow clients, large bodies, a thousand apps."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import machine, options, percentile, table
from hookd.queue.published import AppStatus, publish_status
from tests.support.installation import Installation
from tests.support.load import (
    APPS,
    LARGE,
    PUSHES,
    SENDERS,
    SLOW_CLIENTS,
    burst,
    catalogue,
    is_held,
    large,
    peaks,
    slow_client,
)
from tests.support.nginx import Sites
from tests.support.processes import python, running, wait_for
from tests.support.receiver import push_body
from tests.support.rendered import HOST
from tests.support.signatures import headers_of

_FEW: Final = 10
_ROUNDS: Final = 5
_DOMAIN: Final = "deploy.example.org"


@dataclass(frozen=True)
class Sizes:
    """The size of each flood."""

    pushes: int = PUSHES
    slow_clients: int = SLOW_CLIENTS
    bodies: int = 24
    kinds: tuple[str, ...] = tuple(LARGE)
    apps: tuple[int, ...] = (_FEW, APPS)


_ONCE: Final = Sizes(pushes=10, slow_clients=2, bodies=1, kinds=("too long",), apps=(_FEW,))


def main() -> None:
    """Measure and print."""
    sizes = _ONCE if options(__doc__).parse_args().once else Sizes()
    rows = [("without load", "", "", f"{_idle():.0f}"), _pushes(sizes.pushes), _slow(sizes.slow_clients)]
    rows += [_large(kind, sizes.bodies) for kind in sizes.kinds]
    print(table(("flood", "answers", "seconds", "peak MB of a process"), rows))
    head = ("apps", "start s", "/apps s", "/metrics s", "/metrics kB", "push ms", "peak MB")
    print(table(head, map(_many, sizes.apps)))
    print(machine("gunicorn", "redis", "rq"))


@contextmanager
def _installation(**settings: Any) -> Iterator[Installation]:
    """Run one app and a Redis. `AT` in the receiver's address stands for the directory."""
    with tempfile.TemporaryDirectory(prefix="floods-") as name:
        given = {key: value.replace("AT", name) if isinstance(value, str) else value for key, value in settings.items()}
        with Installation(Path(name), {"receiver": given}) as site:
            site.add_app("shop")
            site.start_redis("--appendonly", "yes", "--appendfsync", "everysec")
            yield site


def _idle() -> float:
    with _installation() as site, site.receiver():
        return max(peaks(site))


def _pushes(count: int) -> tuple[str, ...]:
    with _installation() as site, site.receiver():
        started = time.monotonic()
        statuses = burst(site, "shop", count)
        seconds = time.monotonic() - started
        made = len(site.records.history("shop", 100))
        flood = f"{count} pushes, {SENDERS} senders, {made} deployment"
        return flood, _said(statuses), f"{seconds:.1f}", f"{max(peaks(site)):.0f}"


def _slow(count: int) -> tuple[str, ...]:
    with _installation(bind="unix:AT/hookd/receiver.sock") as site:
        (site.directory / "hookd").mkdir()
        socket = site.directory / "hookd" / "receiver.sock"
        sites = Sites(site.directory)
        sites.write(HOST)
        argv = python("-m", "hookd.cli", "serve")
        with running(argv, site.directory / "receiver.log", site.environment), sites.served():
            wait_for(socket.exists, what="the receiver")
            clients = [slow_client(sites.port, number) for number in range(count)]
            seconds = [_timed(partial(_push_through, sites, number)) for number in range(50)]
            held = sum(map(is_held, clients))
            for client in clients:
                client.close()
            flood = f"50 pushes through nginx beside {held} slow clients"
            return flood, "202", f"p99 {percentile(seconds, 0.99):.3f}", f"{max(peaks(site)):.0f}"


def _push_through(sites: Sites, number: int) -> None:
    body = push_body("shop", delivery=f"d-{number}")
    headers = headers_of("gitea", body, delivery=f"d-{number}")
    status, text, _ = sites.ask("POST", "/hooks/shop", _DOMAIN, headers, body)
    if status != 202:
        raise SystemExit(f"a push was answered {status}: {text}")


def _large(kind: str, count: int) -> tuple[str, ...]:
    head, body, _ = LARGE[kind]
    with _installation() as site, site.receiver():
        started = time.monotonic()
        with ThreadPoolExecutor(8) as senders:
            statuses = list(senders.map(lambda _: large(site, head, body), range(count)))
        seconds = time.monotonic() - started
        said = _said({status: statuses.count(status) for status in sorted(set(statuses))})
        flood = f"{count} unsigned bodies, 8 at once, {len(body) // 2**20} MiB: {kind}"
        return flood, said, f"{seconds:.1f}", f"{max(peaks(site)):.0f}"


def _many(count: int) -> tuple[str, ...]:
    with _installation() as site:
        apps = catalogue(site, count)
        started = time.monotonic()
        with site.receiver():
            start = time.monotonic() - started
            for app in apps:
                publish_status(site.records.connection, AppStatus(app=app, healthy=True))
            page = _best(lambda: site.post("/apps", b"", {}, method="GET"))
            metrics = _best(lambda: site.post("/metrics", b"", {}, method="GET"))
            size = len(site.post("/metrics", b"", {}, method="GET")[1]["text"])
            push = _best(lambda: _push(site, apps[-1]))
            numbers = f"{start:.1f}", f"{page:.3f}", f"{metrics:.3f}", f"{size / 1000:.0f}", f"{push * 1000:.1f}"
            return str(count), *numbers, f"{max(peaks(site)):.0f}"


def _push(site: Installation, app: str) -> None:
    body = push_body(app, at=time.monotonic())
    site.post(f"/hooks/{app}", body, headers_of("github", body))


def _best(call: Callable[[], object]) -> float:
    return min(_timed(call) for _ in range(_ROUNDS))


def _timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def _said(statuses: Any) -> str:
    """Format the statuses with their numbers. A client that sends on after its refusal is cut off."""
    return ", ".join(f"{times} × {status or 'cut off'}" for status, times in statuses.items())


if __name__ == "__main__":
    main()
