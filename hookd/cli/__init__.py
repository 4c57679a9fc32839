"""The `hookd` command."""

from hookd.cli.commands import main

__all__ = ["main"]
