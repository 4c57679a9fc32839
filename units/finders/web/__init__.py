"""Finds the web process: its directory, entry, server, health page and static files."""
