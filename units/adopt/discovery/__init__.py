"""Discovery of a project: its checkout, unit, gunicorn, sockets, nginx sites, variables and untracked files."""
