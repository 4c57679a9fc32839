"""The `hookd` command: a face for people over the same records that the receiver writes.

Map: `base` (what all commands share) · `deployments`, `freeze`, `reading`, `why`, `programs` (what can be typed
anywhere) · `follow` (a deployment, live) · `show`, `logs`, `tell` (status, logs and decisions as text) · `send` (a
signed push) · `launch` (becomes the worker or the embedded Redis) · `root`, `server`, `apps`, `adopt`, `look` (what is
typed on a server; the work is in `units`).
"""

from hookd.cli import deployments, freeze, programs, reading, why
from hookd.cli.base import main

__all__ = ["deployments", "freeze", "main", "programs", "reading", "why"]
