"""Prints a deployment's log, and goes on printing while it grows."""

import time
from pathlib import Path

import click

from hookd.contract.deployment import Deployment
from hookd.store.records import Records


class NoLog(Exception):
    """There is nothing to print."""


def print_log(path: Path, records: Records, record: Deployment, *, keep_on: bool) -> Deployment:
    """Print the log, with `keep_on` until the deployment has ended; returns the record as it is then.

    Raises NoLog when there is none, and PermissionError when it may not be read.
    """
    while not path.exists() and keep_on and not record.ended:
        time.sleep(0.1)
        record = records.get(record.id)
    if not path.exists():
        raise NoLog(f"there is no log of {record.id}" + ("" if record.ended else " yet"))
    with path.open(encoding="utf-8", errors="replace") as file:
        while True:
            record = records.get(record.id)
            click.echo(file.read(), nl=False)
            if record.ended or not keep_on:
                return record
            time.sleep(0.1)
