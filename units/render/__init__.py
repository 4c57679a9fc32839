"""Renders the files of a host: units, sudoers, nginx sites, Redis files. Nothing is read or written."""
