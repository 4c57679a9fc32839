"""The services of an app.

`manager` controls them through systemd or `circus`, `health` checks a release, `listener` finds strangers on its port,
`drift` compares what runs with what should run, `serving` asks a release that serves, and `disturbance` finds signals
from outside.
"""
