"""Processes: the only door to subprocess, the subreaper and kernel locks."""
