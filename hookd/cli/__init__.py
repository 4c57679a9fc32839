"""The `hookd` command: a face for people over the same records that the receiver writes.

Map: `commands` (what can be typed) · `follow` (a deployment, live) · `show` (status as tables) · `send` (a signed push)
· `launch` (becomes the worker or the embedded Redis) · `root`, `server`, `apps` (what only root may do on a server; the
work itself is in `units`).
"""

from hookd.cli.commands import main

__all__ = ["main"]
