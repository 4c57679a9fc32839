"""Redis and RQ.

Map: `client` (connections) · `deployments` (requests and records) · `app_status` · `counters` · `decision_log` ·
`rq_classes` (RQ made safe), `rq_keys` (RQ's key names).
"""
