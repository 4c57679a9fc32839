"""Starts an app's gunicorn, or checks that the app can be loaded: `python units/in_app [--check] [OPTIONS] ENTRY`.

It runs in the app's environment, with any Python from 3.8 and any gunicorn from 20, and imports nothing of hookd's
packages.
"""

import argparse
import sys

from hookd_app.check import check
from hookd_app.program import Program

# This directory, with only this program and `hookd_app`, which is loaded. gunicorn puts the app's directory first.
sys.path.pop(0)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="hookd's start of gunicorn", allow_abbrev=False)
    parser.add_argument("entry")
    parser.add_argument("--check", action="store_true", help="load the app and end")
    parser.add_argument("--bind", action="append", help="a socket, also fd://3")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--worker-class")
    wanted = parser.parse_args()
    program = Program(wanted)
    if wanted.check:
        check(program)
    program.run()
