"""`python -m hookd.cli` is the `hookd` command."""

from hookd.cli import main

main(prog_name="hookd")
