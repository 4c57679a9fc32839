"""Processes: `run` (the only door to subprocess), `subreaper` (leftover processes), `lock` (the app's lock, liveness)."""
