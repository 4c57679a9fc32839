"""Reconciles apps: `python -P -m worker.reconcile [--now] [--every SECONDS] [APP ...]`, as the worker's user.

It compares the branch's head, the journal and the running services. Where they differ it requests a deployment, which
repairs them under the app's lock. On a server a timer starts it about every 30 seconds. Without systemd, `--every`
keeps it running.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
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

# The timer's interval, and the time of a round.
_PACE_SECONDS: Final = 35
_THREADS: Final = 8
# The wait for a Redis that starts or changes its passwords.
_REDIS_SECONDS: Final = 10.0


@dataclass(frozen=True)
class RoundOptions:
    """The apps of a round, or none for all. `now` includes apps that are not due, `prints` shows the decisions."""

    apps: tuple[str, ...]
    now: bool
    pace: int
    prints: bool = False


def main(arguments: list[str]) -> int:
    """Run one round, or rounds until stopped. Return the exit status."""
    options = _parser().parse_args(arguments)
    eventlog.start()
    apps, stays = tuple(options.apps), options.every is not None
    if stays:
        with suppress(ConfigError):  # The first round logs it.
            start_after_circus(load_valid_apps(config_path())[0], time.time())
    pace = options.every or _PACE_SECONDS
    status = _run_round(RoundOptions(apps, options.now or stays, pace, prints=options.now and not stays))
    while stays:
        time.sleep(options.every)
        status = _run_round(RoundOptions(apps, options.now, pace))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worker.reconcile", description="Deploy missed pushes and repair services.")
    parser.add_argument("--now", action="store_true", help="include apps that are not due yet")
    parser.add_argument("--every", type=_seconds, metavar="SECONDS", help="keep running, one round each SECONDS")
    parser.add_argument("apps", nargs="*", metavar="APP", help="reconcile these apps only")
    return parser


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a number of seconds, not {text!r}")
    return int(text)


def _run_round(options: RoundOptions) -> int:
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
            return _reconcile_due(config, connection, options)
        except RedisError as error:
            event(log, "Redis cannot be used", logging.ERROR, why=str(error))
            return 1


def _reconcile_due(config: Config, connection: Redis, options: RoundOptions) -> int:
    """Reconcile the apps that are due, several at the same time."""
    run_id = _redis_run_id(connection)
    apps = [app for app in config.catalogue.apps if app.name in options.apps or not options.apps]
    # An app that is switched off must be named.
    due = [
        app
        for app, last in _last_checks(connection, apps)
        if (options.now and (app.reconcile.every or options.apps))
        or is_due(app.name, app.reconcile.every, last, run_id=run_id, now=time.time(), pace=options.pace)
    ]
    reconciler = Reconciler(config, DeploymentStore(connection, keep_seconds=config.settings.history_seconds))
    with ThreadPoolExecutor(_THREADS) as pool:
        return max(pool.map(lambda app: reconcile_app(reconciler, app, run_id, prints=options.prints), due), default=0)


def _redis_run_id(connection: Redis) -> str:
    """Return the id that Redis has from each start on. Waits for a Redis that is starting."""
    end = time.monotonic() + _REDIS_SECONDS
    while True:
        try:
            return str(connection.info("server")["run_id"])
        except RedisError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.5)


def _last_checks(connection: Redis, apps: Iterable[App]) -> list[tuple[App, LastCheck | None]]:
    """Return each app with its last poll, the oldest poll first."""
    chosen = list(apps)
    with connection.pipeline(transaction=False) as pipeline:
        for app in chosen:
            pipeline.hgetall(redis_keys.polled_key(app.name))
        found = [_decode_check(fields) for fields in pipeline.execute()]
    return sorted(zip(chosen, found, strict=True), key=lambda one: one[1].at if one[1] else 0.0)


def _decode_check(fields: dict[bytes, bytes]) -> LastCheck | None:
    """Return the poll, or None for an unreadable one."""
    try:
        return LastCheck(float(fields[b"at"]), fields[b"run_id"].decode())
    except (KeyError, ValueError):
        return None


def reconcile_app(reconciler: Reconciler, app: App, run_id: str, *, prints: bool = False) -> int:
    """Reconcile one app and return 1 on errors, the unexpected ones too, so that the other apps go on."""
    at = time.time()
    try:
        result = reconciler.reconcile(app)
        if result.done:
            fields: Any = {"at": at, "run_id": run_id}
            reconciler.store.connection.hset(redis_keys.polled_key(app.name), mapping=fields)
        if prints:
            print(f"{app.name}: {result.decision.verdict}: {result.decision.why}")
    except (RedisError, Contention, OSError) as error:
        event(log, "not reconciled", logging.ERROR, app=app.name, why=str(error))
        return 1
    except Exception as error:
        event(log, "hookd failed", logging.ERROR, trace=True, app=app.name, why=type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
