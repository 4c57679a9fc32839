"""Reads a repository at a commit and finds how hookd can run it. Runs as a user without rights, and runs no code of it.

`plan.py` calls the finders. They stand in rooms, each of which imports only those behind it: `commands`, `data` and
`packages`, `web`, `code` (Python), `repository` (files).
"""
