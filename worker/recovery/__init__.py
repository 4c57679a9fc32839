"""Recovery from crashes, by each worker every ten seconds.

`recover` (the round) uses `lost_jobs`, `crashed` (the ending of a crashed deployment), `worker_registry`
(dead workers) and `redis_repair` (bad keys).
"""
