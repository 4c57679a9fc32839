"""Processes: `run` (the only door to subprocess), `subreaper` (leftover processes), `lock` (locks, liveness).

`systemctl` asks systemd, and has the worker's only sudo.
"""
