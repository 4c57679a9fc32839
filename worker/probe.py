"""Asks an app's repository for its branch's head as a deployment would, and changes nothing.

`python -m worker.probe APP [SECONDS]` prints the head and ends with 0, or prints the error in one line and ends with 1.
"""

import sys
from typing import Final

from worker.context import load_app
from worker.errors import DeployError
from worker.release.git import read_head

_SECONDS: Final = 30.0


def main(arguments: list[str]) -> int:
    """Print the head or the error. Return the exit status."""
    name, *rest = arguments
    try:
        app, config = load_app(name)
        print(read_head(app, config.settings, float(rest[0]) if rest else _SECONDS))
    except DeployError as error:
        print(error.cause)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
