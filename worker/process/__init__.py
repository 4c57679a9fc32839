"""Processes: `run` (the only door to subprocess), `subreaper` (leftover processes) and `lock` (the app's lock)."""
