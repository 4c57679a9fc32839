"""The `hookd` command.

`main` (all commands) · `common` (configuration, errors, options) · `deploy` with `progress` (a deployment, live) ·
`freeze` · `status` with the logs · `history` (`hookd why`) · `programs` (serve, worker, reconcile, redis, demo) with
`send` (a signed push) · `safe_text`. The commands for a server are in `units/cli`.
"""

from hookd.cli.main import main

__all__ = ["main"]
