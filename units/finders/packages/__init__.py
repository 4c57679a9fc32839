"""Finds the list of packages and the version of Python."""
