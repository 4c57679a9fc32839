"""An app with a queue: a web process, two RQ workers, a scheduler that must run once, and a timer."""

import re
from collections.abc import Mapping
from typing import Final

from tests.support.server.machine import Machine
from tests.support.server.shop import good

SOCKET: Final = "/run/shop-redis/redis.sock"
# A Redis of the app's own, as an operator would make it. The program is the one that hookd brings.
_REDIS_UNIT: Final = """\
[Service]
Type=exec
DynamicUser=yes
RuntimeDirectory=shop-redis
ExecStart={program} --port 0 --unixsocket {socket} --unixsocketperm 777 --save ""
[Install]
WantedBy=multi-user.target
"""
_ASK: Final = """\
import sys, redis
answer = redis.Redis(unix_socket_path=sys.argv[1], decode_responses=True).execute_command(*sys.argv[2:])
print("" if answer is None else "\\n".join(answer) if isinstance(answer, list) else answer)
"""
_COMMON: Final = f"""\
import os, sys, time
from redis import Redis
connection = Redis(unix_socket_path="{SOCKET}")

def note(key):
    connection.rpush(key, f"{{os.environ['HOOKD_RELEASE']}} {{os.getpid()}}")
"""
_FILES: Final = {
    "common.py": _COMMON,
    "jobs.py": """\
import os, time
from common import connection

def work(number, seconds):
    began = os.environ["HOOKD_RELEASE"]
    connection.hset("began", number, began)
    time.sleep(seconds)
    end = time.monotonic() + 50
    while connection.get("hold") and time.monotonic() < end:
        time.sleep(0.05)
    here = os.path.basename(os.getcwd())
    connection.hset("ended", number, f"{began} {here} {os.path.isdir(os.getcwd())}")
""",
    "work.py": """\
from common import connection, note
from rq import Queue, Worker
note("workers")
Worker([Queue("shop", connection=connection)], connection=connection).work(logging_level="WARNING")
""",
    "beat.py": """\
import os, signal, sys, time
from common import connection, note
running = True

def end(*_):
    global running
    running = False

signal.signal(signal.SIGTERM, end)
note("beats")
if connection.incr("running") != 1:
    connection.set("overlapped", 1)
while running:
    time.sleep(0.05)
connection.decr("running")
""",
    "clean.py": "from common import note\nnote('cleaned')\n",
}
_REQUIREMENTS: Final = "gunicorn\nrq\nredis\n"
COMMANDS: Final = (
    'processes.worker={command=["python","work.py"],count=2,stop_seconds=30}',
    'processes.beat={command=["python","beat.py"]}',
    'timers.clean={command=["python","clean.py"],schedule="*:*:0/2"}',
)


def start_redis(machine: Machine) -> None:
    """Run a Redis for the app."""
    program = re.findall(r"^ExecStart=(\S+)", machine.read("/etc/systemd/system/hookd-redis.service"), re.MULTILINE)[0]
    text = _REDIS_UNIT.format(program=program, socket=SOCKET)
    machine.write("/etc/systemd/system/shop-redis.service", text)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "--quiet", "shop-redis.service")
    machine.wait_until(machine.path(SOCKET).exists, what="the Redis of the app")


def queue_files(version: str, over: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the files of a commit, with other ones in place of some."""
    return {**good(version), **_FILES, "requirements.txt": _REQUIREMENTS, **(over or {})}


def enqueue(machine: Machine, number: int, seconds: float) -> None:
    """Give a job to the queue."""
    code = (
        f"from common import connection; from rq import Queue; "
        f"Queue('shop', connection=connection).enqueue('jobs.work', {number}, {seconds})"
    )
    machine.run("/srv/shop/current/venv/bin/python", "-Bc", code, directory="/srv/shop/current")


def redis(machine: Machine, *command: str) -> str:
    """Ask the app's Redis."""
    return machine.run("/opt/hookd/current/venv/bin/python", "-Pc", _ASK, SOCKET, *command).stdout.strip()
