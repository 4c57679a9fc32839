"""The check of a release: load the app as the service does, and end at once."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hookd_app.program import Program


def check(program: Program) -> None:
    """End with status 0 if the app can be loaded, else with its traceback and 1.

    A thread of the app that never ends does not hold this process.
    """
    status = 1
    try:
        program.prepare()
        _load_worker_class(program)
        program.load()
        status = 0
    except BaseException:  # Also an app that ends its process.
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _load_worker_class(program: Program) -> None:
    """Raise RuntimeError with the last line of gunicorn's own report, which ends with a bracket."""
    try:
        _ = program.cfg.worker_class
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip(" ]")]
        raise RuntimeError(f"the worker class cannot be loaded: {lines[-1].strip()}") from None
