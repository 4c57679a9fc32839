"""Lets `python -m hookd.cli` be the `hookd` command."""

from hookd.cli.commands import main

main()
