"""Processes: `run` (the only door to subprocess), `subreaper` (leftover processes), `lock` (locks, liveness)."""
