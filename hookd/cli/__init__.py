"""The `hookd` command.

`main` (all commands, imported when they are typed) · `common` (messages, configuration, arguments) · `deploy` with
`progress` (a deployment, live) · `freeze` · `status` with the logs · `history` (`hookd why`) · `programs` (serve,
worker, reconcile, redis) · `send` (a signed push). The commands for a server are in `units/cli`.
"""

import sys

try:
    from hookd.cli.main import main
except KeyboardInterrupt:  # Ctrl-C while the modules are read.
    sys.exit(130)

__all__ = ["main"]
