"""Redis and RQ.

Map: `client` (connections) · `deployments` (requests and records) · `published` (statuses and decisions) ·
`counters` · `rq_classes` (RQ made safe), `rq_keys` (RQ's key names).
"""
