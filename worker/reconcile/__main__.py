"""Sees to it that no push is lost: asks git hosts for their branches' heads and compares wanted, deployed, running.

`python -P -m worker.reconcile [--now] [--every SECONDS] [APP ...]`, as the worker's user. Where they differ and nothing
speaks against it, it asks for a deployment, which mends what it finds under the app's lock. On a server a timer starts
it about every 30 seconds; where there is no systemd, `--every` stays.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from hookd import eventlog
from hookd.config import Config, ConfigError, config_path, load_valid_apps
from hookd.credentials import redis_user
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.app import App
from hookd.queue.client import cli_client
from hookd.queue.deployments import Contention, DeploymentStore
from worker.boot import start_after_circus
from worker.reconcile.reconciler import Reconciler
from worker.reconcile.schedule import LastCheck, is_due

log: Final = logging.getLogger(__name__)

# The timer's own, and what a look itself takes.
_PACE_SECONDS: Final = 35
# So many git hosts are asked at the same time, each for a bounded time.
_AT_ONCE: Final = 8
# A Redis that is just starting, or gets other passwords, is waited for; one that is away is there at another time.
_REDIS_SECONDS: Final = 10.0


@dataclass(frozen=True)
class RoundOptions:
    """Which apps are to be looked at: those of these names or all; `now` means also those that are not due.

    `tells` says that a person wants to see what was found.
    """

    apps: tuple[str, ...]
    now: bool
    pace: int
    tells: bool = False


def main(arguments: list[str]) -> int:
    """Look once, or until it is stopped; returns the exit status."""
    options = _parser().parse_args(arguments)
    eventlog.start()
    stays = options.every is not None
    if stays:
        _start_apps()
    wish = RoundOptions(
        tuple(options.apps), options.now or stays, options.every or _PACE_SECONDS, options.now and not stays
    )
    status = _run_round(wish)
    while stays:
        time.sleep(options.every)
        status = _run_round(RoundOptions(wish.apps, options.now, wish.pace))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worker.reconcile", description="Deploys what was missed, mends what runs.")
    parser.add_argument("--now", action="store_true", help="look at apps that are not due yet, too")
    parser.add_argument("--every", type=_seconds, metavar="SECONDS", help="stay, and look so often which apps are due")
    parser.add_argument("apps", nargs="*", metavar="APP", help="look at these only")
    return parser


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a number of seconds, not {text!r}")
    return int(text)


def _start_apps() -> None:
    """Do for a machine without systemd what an app's unit does when a host starts; whatever Redis says."""
    try:
        start_after_circus(load_valid_apps(config_path())[0], time.time())
    except ConfigError:
        return  # The look that follows says so.


def _run_round(wish: RoundOptions) -> int:
    try:
        config, problems = load_valid_apps(config_path())
        user = redis_user(config, "worker")
    except ConfigError as error:
        event(log, "the configuration cannot be used", logging.ERROR, why=str(error))
        return 2
    for problem in problems:
        event(log, "an app is left out", logging.WARNING, why=str(problem))
    with closing(cli_client(config.settings.redis.url, user)) as connection:
        try:
            return _reconcile_due(config, connection, wish)
        except RedisError as error:
            event(log, "Redis cannot be used", logging.ERROR, why=str(error))
            return 1


def _reconcile_due(config: Config, connection: Redis, wish: RoundOptions) -> int:
    """Look at every app whose time has come, some of them side by side; those first that waited longest."""
    life = _redis_run_id(connection)
    apps = [app for app in config.catalogue.apps if app.name in wish.apps or not wish.apps]
    due = [app for app, last in _last_checks(connection, apps) if _is_due(app, last, life, wish)]
    looker = Reconciler(config, DeploymentStore(connection, keep_seconds=config.settings.history_seconds))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return max(pool.map(lambda app: reconcile_app(looker, app, life, tells=wish.tells), due), default=0)


def _is_due(app: App, last: LastCheck | None, life: str, wish: RoundOptions) -> bool:
    """Tell whether to look at an app now; one that is switched off must be named."""
    if wish.now and (app.reconcile.every or wish.apps):
        return True
    return is_due(app.name, app.reconcile.every, last, life=life, now=time.time(), pace=wish.pace)


def _redis_run_id(connection: Redis) -> str:
    """Name this life of Redis, which is another after each of its starts; waits a little for one that is starting."""
    end = time.monotonic() + _REDIS_SECONDS
    while True:
        try:
            return str(connection.info("server")["run_id"])
        except RedisError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.5)


def _last_checks(connection: Redis, apps: Iterable[App]) -> list[tuple[App, LastCheck | None]]:
    """Read when each app was last looked at; those first that waited longest."""
    chosen = list(apps)
    with connection.pipeline(transaction=False) as pipeline:
        for app in chosen:
            pipeline.hgetall(redis_keys.polled_key(app.name))
        found = [_decode_check(fields) for fields in pipeline.execute()]
    return sorted(zip(chosen, found, strict=True), key=lambda one: one[1].at if one[1] else 0.0)


def _decode_check(fields: dict[bytes, bytes]) -> LastCheck | None:
    """What cannot be read was never written."""
    try:
        return LastCheck(float(fields[b"at"]), fields[b"life"].decode())
    except (KeyError, ValueError):
        return None


def reconcile_app(looker: Reconciler, app: App, life: str, *, tells: bool = False) -> int:
    """Look at one app; what is wrong with it holds no other up. The one place here that catches the unexpected."""
    at = time.time()
    try:
        looked = looker.look(app)
        if looked.done:
            fields: Any = {"at": at, "life": life}
            looker.records.connection.hset(redis_keys.polled_key(app.name), mapping=fields)
        if tells:
            print(f"{app.name}: {looked.ruling.verdict}: {looked.ruling.why}")
    except (RedisError, Contention, OSError) as error:
        event(log, "not looked at", logging.ERROR, app=app.name, why=str(error))
        return 1
    except Exception as error:
        event(log, "hookd failed", logging.ERROR, trace=True, app=app.name, why=type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
