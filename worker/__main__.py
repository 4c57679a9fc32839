"""Starts one worker: `python -m worker [NAME]`, which is `rq worker` with hookd's classes and intervals.

One worker of a host stays ready. The others rest when they are idle (`worker/standby.py`).
"""

import logging
import os
import secrets
import shlex
import signal
import socket
import sys
from typing import Final
from urllib.parse import parse_qs, urlsplit

from redis.exceptions import AuthenticationError, RedisError

from hookd import eventlog
from hookd.config import Config, ConfigError, config_path, load
from hookd.credentials import RedisUser, password_file, redis_user, with_user
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.owner import WrongUser, require_owner
from hookd.queue.client import receiver_client, worker_client
from worker import standby
from worker.process.lock import try_lock
from worker.process.subreaper import become_subreaper
from worker.rq_worker import NameTaken, SafeWorker

log: Final = logging.getLogger("hookd.worker")

# An idle worker runs maintenance every ten seconds (RQ: ttl - 15 s), a busy one between its heartbeats.
_WORKER_TTL: Final = 25
_MAINTENANCE_SECONDS: Final = 10
_MONITORING_SECONDS: Final = 5


def main(arguments: list[str]) -> int:
    """Run a worker until it is stopped. Return the exit status."""
    eventlog.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, standby.SIGNALS)
    try:
        config = load(config_path())
        require_owner(config)
        user = redis_user(config, "worker")
    except WrongUser as error:
        event(log, "not started", logging.ERROR, why=error.cause, next=error.hint)
        return 2
    except ConfigError as error:
        for problem in error.problems:
            event(log, "the configuration cannot be used", logging.ERROR, why=problem, next="hookd doctor")
        return 2
    name = arguments[0] if arguments else f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    become_subreaper()
    try:
        _work(config, user, name)
    except AuthenticationError as error:
        why = f"Redis rejected the password of {user.username if user else 'the default user'}: {error}"
        event(log, "not started", logging.ERROR, why=why, next="hookd doctor")
        return 2
    except NameTaken as error:
        event(log, "not started", logging.ERROR, why=str(error), next="hookd worker --name ANOTHER-NAME")
        return 1
    except RedisError as error:
        event(log, "Redis cannot be used", logging.ERROR, why=str(error), next="hookd doctor")
        return 1
    return 0


def _work(config: Config, user: RedisUser | None, name: str) -> None:
    """Run jobs until stopped, with rests if another worker is ready.

    Raises NameTaken, and RedisError if Redis cannot be used at the start.
    """
    url = config.settings.redis.url
    try:
        receiver_client(url, user).ping()
    except AuthenticationError:
        raise  # The worker's connection would retry for minutes.
    except RedisError:
        pass
    worker = SafeWorker(
        redis_keys.QUEUE,
        name=name,
        connection=worker_client(url, user),
        worker_ttl=_WORKER_TTL,
        maintenance_interval=_MAINTENANCE_SECONDS,
        job_monitoring_interval=_MONITORING_SECONDS,
    )
    write_rq_environment(config, user)
    command = standby_command(config, user, name)
    rests = command is not None and not _become_ready(config)
    # RQ's messages below a warning repeat every ten seconds. hookd logs events of its own.
    worker.work(logging_level="WARNING", max_idle_time=config.settings.worker.rest_seconds if rests else None)
    if command is None or not worker.rests:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, standby.SIGNALS)  # A signal waits until the other program handles it.
    if not worker.is_stopping:
        os.execv(sys.executable, command)


def _become_ready(config: Config) -> bool:
    """Take the lock of the host's ready worker. The kernel frees it when this process ends."""
    path = config.settings.ready_lock
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return try_lock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))


def standby_command(config: Config, user: RedisUser | None, name: str) -> list[str] | None:
    """Return the program of a resting worker, or None if it does not know the way to this Redis."""
    url = urlsplit(config.settings.redis.url)
    options = parse_qs(url.query)
    if url.scheme != "unix" or url.netloc or options.keys() - {"db"}:
        return None
    database = options.get("db", ["0"])[-1]
    login = (user.username, str(password_file(config, "worker"))) if user is not None else ()
    program = (sys.executable, "-I", "-S", standby.__file__)
    return [*program, name, str(config.settings.ready_lock), url.path, database, *login]


def write_rq_environment(config: Config, user: RedisUser | None) -> None:
    """Write the variables with which the plain `rq` program is safe: `. rq.env` before `rq requeue` or `rq info`.

    `rq` takes a password in the URL only, so the file is readable for its owner alone.
    """
    variables = {
        "HOOKD_CONFIG": str(config.path),
        "RQ_REDIS_URL": with_user(config.settings.redis.url, user),
        "RQ_JOB_CLASS": "hookd.queue.rq_classes.SafeJob",
        "RQ_QUEUE_CLASS": "hookd.queue.rq_classes.SafeQueue",
        "RQ_WORKER_CLASS": "worker.rq_worker.SafeWorker",
    }
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    path = config.settings.rq_environment
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(f'{text}export PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"\n')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
