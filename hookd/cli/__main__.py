"""Lets `python -m hookd.cli` be the `hookd` command."""

from hookd.cli import main

main(prog_name="hookd")
