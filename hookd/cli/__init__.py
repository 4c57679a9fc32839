"""The `hookd` command: a face for people over the same records that the receiver writes.

Map: `group` (all commands) · `base` (what they share) · `deployments`, `freeze`, `reading`, `why`, `programs` (what can
be typed anywhere) · `follow` (a deployment, live) · `show`, `logs`, `tell` (status, logs and decisions as text) ·
`terminal`, `hints` (what others wrote, made harmless) · `send` (a signed push) · `launch` (becomes the worker, the
reconciler or the embedded Redis) · `root`, `server`, `apps`, `edit`, `adopt`, `look` (what is typed on a server; the
work is in `units`).
"""

from hookd.cli.main import main

__all__ = ["main"]
