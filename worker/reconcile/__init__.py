"""Reconciliation: compares branch head, journal and services, and requests a deployment where they differ.

`__main__` (the rounds) calls `reconciler` (one app), which observes, asks `assess` and publishes. `schedule` has the
times of polls and retries.
"""
