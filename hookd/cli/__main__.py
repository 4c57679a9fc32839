"""`python -m hookd.cli` is the `hookd` command."""

import sys

from hookd.cli import main

try:
    main(prog_name="hookd")
except KeyboardInterrupt:
    sys.exit(130)
