"""hookd: a git push becomes a running release on a plain Linux server.

Read in this order: `app` (a push arrives) → `contract.deployment` (what is recorded) → `worker.job` and
`worker.pipeline` (what is done about it) → `worker.commands` (every program that is started).

Map: `app`, `status`, `metrics` (the receiver's routes) · `senders`, `signatures`, `secrets`, `body`, `signed`,
`pushes`, `client`, `refusals` (from a request to a verdict) · `deliveries`, `notebook` (what is kept of it for
people) · `serve` (gunicorn) · `openapi` (the routes as a document) · `cli` (the command) · `demo` (the main job on one
machine) · `contract` (what both sides agree on) · `store` (disk and Redis for both sides).
This package never imports `worker`.
"""

__version__ = "0.1.0"
