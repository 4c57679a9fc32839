"""Reconciles apps: `python -P -m worker.reconcile [--now] [--every SECONDS] [APP ...]`, as the worker's user.

It compares the branch's head, the journal and the running services. Where they differ it requests a deployment, which
repairs them under the app's lock. On a server a timer starts it about every 30 seconds. Without systemd, `--every`
keeps it running.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from hookd import eventlog
from hookd.config import Config, ConfigError, config_path, configured_at, load_valid_apps
from hookd.credentials import redis_user
from hookd.eventlog import event
from hookd.model import redis_keys
from hookd.model.app import App
from hookd.owner import WrongUser, require_owner
from hookd.queue.client import cli_client
from hookd.queue.deployments import Contention, DeploymentStore
from worker.boot import start_after_circus
from worker.reconcile.reconciler import Reconciler
from worker.reconcile.schedule import needs_poll

log: Final = logging.getLogger(__name__)

# The timer's interval, and the time of a round.
_PACE_SECONDS: Final = 35
_THREADS: Final = 8
# The wait for a Redis that starts or changes its passwords.
_REDIS_SECONDS: Final = 10.0


def main(arguments: list[str]) -> int:
    """Run one round, or rounds until stopped. Return the exit status."""
    options = _parser().parse_args(arguments)
    eventlog.start()
    if options.every is None:
        return _run_round(options.apps, poll_all=options.now, prints=options.now)
    with suppress(ConfigError):  # The first round logs it.
        start_after_circus(load_valid_apps(config_path())[0], time.time())
    _run_round(options.apps, poll_all=True, pace=options.every)
    while True:
        time.sleep(options.every)
        _run_round(options.apps, poll_all=options.now, pace=options.every)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worker.reconcile", description="Deploy missed pushes and repair services.")
    parser.add_argument("--now", action="store_true", help="poll all apps now")
    parser.add_argument("--every", type=_seconds, metavar="SECONDS", help="keep running, one round each SECONDS")
    parser.add_argument("apps", nargs="*", metavar="APP", help="reconcile these apps only")
    return parser


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a number of seconds, not {text!r}")
    return int(text)


def _run_round(names: Sequence[str], *, poll_all: bool, pace: int = _PACE_SECONDS, prints: bool = False) -> int:
    """Reconcile the apps that need a poll, or all of them. `names` limits them. `prints` shows their decisions."""
    try:
        config, problems = load_valid_apps(config_path())
        require_owner(config, "hookd-reconcile.service")
        user = redis_user(config, "worker")
    except WrongUser as error:
        event(log, "not started", logging.ERROR, why=error.cause, next=error.hint)
        return 2
    except ConfigError as error:
        event(log, "the configuration cannot be used", logging.ERROR, why=str(error))
        return 2
    for problem in problems:
        event(log, "an app is left out", logging.WARNING, why=str(problem))
    apps = [app for app in config.catalogue.apps if app.name in names or not names]
    with closing(cli_client(config.settings.redis.url, user)) as connection:
        try:
            run_id = _redis_run_id(connection)
            if poll_all:  # An app that is switched off must be named.
                polled = [app for app in apps if app.reconcile.every or names]
            else:
                polled = _apps_to_poll(config, connection, apps, run_id, pace)
        except RedisError as error:
            event(log, "Redis cannot be used", logging.ERROR, why=str(error))
            return 1
        store = DeploymentStore(connection, keep_seconds=config.settings.history_seconds)
        reconciler = Reconciler(config, store, run_id)
        with ThreadPoolExecutor(_THREADS) as pool:
            return max(pool.map(lambda app: reconcile_app(reconciler, app, prints=prints), polled), default=0)


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


def _apps_to_poll(config: Config, connection: Redis, apps: Sequence[App], run_id: str, pace: int) -> list[App]:
    """Return the apps that must be polled now, the one with the oldest poll first."""
    with connection.pipeline(transaction=False) as pipeline:
        for app in apps:
            pipeline.hmget(redis_keys.polled_key(app.name), "at", "run_id")
        found = pipeline.execute()
    polls = [float(at) if at and id_then == run_id.encode() else None for at, id_then in found]
    oldest_first = sorted(zip(apps, polls, strict=True), key=lambda poll: poll[1] or 0.0)
    now = time.time()
    return [
        app
        for app, last in oldest_first
        if needs_poll(
            app.name,
            app.reconcile.every,
            last,
            now=now,
            pace=pace,
            edited=configured_at(config, app).timestamp(),
        )
    ]


def reconcile_app(reconciler: Reconciler, app: App, *, prints: bool = False) -> int:
    """Reconcile one app and return 1 on errors, the unexpected ones too, so that the other apps go on."""
    try:
        assessed = reconciler.reconcile(app)
        if prints:
            print(f"{app.name}: {assessed.verdict}: {assessed.why}")
    except (RedisError, Contention, OSError) as error:
        event(log, "not reconciled", logging.ERROR, app=app.name, why=str(error))
        return 1
    except Exception as error:  # The one place of this process for unexpected errors.
        event(log, "hookd failed", logging.ERROR, trace=True, app=app.name, why=type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
