"""Lets `python -m hookd.cli` be the `hookd` command."""

from hookd.cli.commands import main

main(prog_name="hookd")
