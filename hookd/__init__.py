"""hookd: a git push becomes a running release on a plain Linux server.

Rooms: `model` (values without input or output) · `queue` (Redis and RQ) · `files` (owners, modes, safe opening) ·
`receiver` (the HTTP side) · `cli` (the `hookd` command).
Beside them: `config`, `credentials`, `freezes`, `eventlog` (what every process shares).
This package imports neither `worker` nor, but for three lazy lines, `units`.
"""

__version__ = "0.1.0"
