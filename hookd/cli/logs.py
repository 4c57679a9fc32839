"""Prints a deployment's log, and goes on printing while it grows."""

import codecs
import shlex
import time
from pathlib import Path
from typing import BinaryIO, Final

import click

from hookd.cli.terminal import harmless
from hookd.contract.deployment import Deployment
from hookd.store.plain import open_plain
from hookd.store.records import Records

_PIECE_BYTES: Final = 64 * 1024


class NoLog(Exception):
    """There is nothing to print; `hint` is what to type next."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def print_log(path: Path, records: Records, record: Deployment, *, keep_on: bool) -> Deployment:
    """Print the log, with `keep_on` until the deployment has ended; returns the record as it is then.

    Raises NoLog when there is none, and PermissionError when it may not be read.
    """
    while not path.exists() and keep_on and not record.ended:
        time.sleep(0.1)
        record = records.get(record.id)
    file = _opened(path, record)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with file:
        while True:
            record = records.get(record.id)
            over = record.ended or not keep_on
            _print_rest(file, decoder)
            if over:
                click.echo(decoder.decode(b"", final=True), nl=False)
                return record
            time.sleep(0.1)


def _opened(path: Path, record: Deployment) -> BinaryIO:
    try:
        return open_plain(path)
    except FileNotFoundError:
        why = f"there is no log of {record.id}" + ("" if record.ended else " yet")
        raise NoLog(why, f"hookd logs {record.id} --follow") from None
    except PermissionError:
        raise
    except OSError as error:
        listing = shlex.join(("sudo", "ls", "-ld", str(path.parent), str(path)))
        raise NoLog(f"{path} cannot be read as a log: {error.strerror}", listing) from None


def _print_rest(file: BinaryIO, decoder: codecs.IncrementalDecoder) -> None:
    """Print what is there by now, piece by piece: the worker's user may make the file as long as he likes."""
    while piece := file.read(_PIECE_BYTES):
        click.echo(harmless(decoder.decode(piece)), nl=False)
