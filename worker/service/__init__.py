"""The services of an app.

`manager` controls them through systemd or `circus`, `health` checks a release, and `drift` compares what runs with
what should run.
"""
