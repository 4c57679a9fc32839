"""Recovery from crashes, by each worker every ten seconds.

`recover` (the round) uses `lost_jobs`, `liveness` (which deployments run, and the ending of a crashed one),
`worker_registry` (dead workers) and `redis_repair` (bad keys).
"""
