"""`python -m hookd.with_variables FILE PROGRAM …` runs a program with the variables of a file, as systemd does."""

import os
import sys
from pathlib import Path

from hookd.variables import UnusableVariables, parse


def main(file: str, *argv: str) -> None:
    """Become the program. Its process id and its open sockets stay."""
    try:
        variables = parse(Path(file).read_bytes().decode())
    except (OSError, UnicodeDecodeError, UnusableVariables) as error:
        sys.exit(f"hookd: the variables in {file} cannot be read: {error}")
    os.execvpe(argv[0], argv, {**os.environ, **variables})


if __name__ == "__main__":
    main(*sys.argv[1:])
