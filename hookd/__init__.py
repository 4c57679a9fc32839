"""hookd: a git push becomes a running release on a plain Linux server.

Rooms: `model` (values without input or output) · `queue` (Redis and RQ) · `files` (owners, modes, safe opening) ·
`receiver` (the HTTP side) · `cli` (the `hookd` command).
Beside them: `config`, `credentials`, `freezes`, `eventlog`, `variables` (what every process shares).
This package does not import `worker`. The command imports `units` only if a command for a server is typed.
"""

__version__ = "0.1.0"
