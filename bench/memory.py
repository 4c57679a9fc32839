"""Memory of hookd's own processes on an idle server, beside a bare gunicorn, two RQ workers and a Redis."""

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.on_server import deployed_shop, succeeded
from bench.report import machine, options, table, times
from tests.support.server.machine import Machine
from tests.support.server.memory import Process, idle_memory, memory_of
from tests.support.server.shop import Shop
from units.system import layout

_PUSHES: Final = 2
_BARE: Final = "/run/bare"
_SOCKET: Final = f"{_BARE}/redis.sock"
# The least that a person would start by hand for the same: a page, and jobs that do nothing.
_PAGE: Final = f"""\
import flask, redis, rq
app = flask.Flask("bare")
queue = rq.Queue("bare", redis.Redis(unix_socket_path="{_SOCKET}"))
app.add_url_rule("/", "page", lambda: queue.enqueue("time.time").id)
"""
_REDIS_OPTIONS: Final = ("--port", "0", "--unixsocket", _SOCKET, "--save", "")
_GUNICORN: Final = ("--workers", "2", "--worker-class", "gthread", "--threads", "8", "--preload")


def main() -> None:
    """Measure and print."""
    once = options(__doc__).parse_args().once
    with deployed_shop() as shop:
        for number in range(1 if once else _PUSHES):
            succeeded(shop, shop.deliver(shop.commit(f"bench-{number}")))
        _start_bare(shop)
        own, bare = idle_memory(shop.machine), memory_of(shop.machine, "bare")
    print("MB of each process on an idle server, shared pages counted once (PSS); `x` compares with the last line\n")
    total, peer = (sum(each.megabytes for each in found) for found in (own, bare))
    sizes = [(each.service, _name(each), each.megabytes) for each in (*own, *bare)]
    sizes += [("hookd in all", "all", total), ("bare in all", "all", peer)]
    rows = [(service, name, f"{size:.1f}", times(size, peer)) for service, name, size in sizes]
    print(table(("service", "process", "MB", "x"), rows))
    print(machine("flask", "gunicorn", "redis", "rq"))


def _start_bare(shop: Shop) -> None:
    """Start the peer with the same Python and packages, and use each part of it once."""
    server = shop.machine
    server.write(f"{_BARE}/bare.py", _PAGE)
    python = str(layout.PYTHON)
    programs = server.run("systemctl", "show", "--property=ExecStart", "--value", "hookd-redis.service").stdout
    redis = programs.partition("path=")[2].partition(" ;")[0]
    _start(server, "redis", redis, *_REDIS_OPTIONS)
    server.wait_until(lambda: server.path(_SOCKET).exists(), what="the bare Redis")
    for number in (1, 2):
        _start(server, f"worker-{number}", python, "-m", "rq.cli", "worker", "--url", f"unix://{_SOCKET}", "bare")
    _start(server, "page", python, "-m", "gunicorn", *_GUNICORN, "--bind", f"unix:{_BARE}/page.sock", "bare:app")
    server.wait_until(lambda: server.path(f"{_BARE}/page.sock").exists(), what="the bare page")
    for _ in range(4):
        server.run("curl", "--silent", "--fail", "--unix-socket", f"{_BARE}/page.sock", "http://bare/")


def _start(server: Machine, name: str, *argv: str) -> None:
    server.run("systemd-run", "--quiet", f"--unit=bare-{name}", f"--working-directory={_BARE}", *argv)


def _name(process: Process) -> str:
    """Name a process by its program, or by the module or script that Python runs."""
    words = [word for word in process.words[1:] if not word.startswith("-")]
    program = Path(process.words[0]).name
    return f"{program} {Path(words[0]).name}" if program.startswith("python") and words else program


if __name__ == "__main__":
    main()
