"""Finds what runs beside the web process: build and release commands, and processes."""
