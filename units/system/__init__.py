"""Doors to the host: files, programs, HTTP, systemd and nginx."""
