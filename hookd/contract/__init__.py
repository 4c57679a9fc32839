"""What receiver and worker agree on: values and their rules, no input or output.

Map: `names` (strings that are safe once they passed) · `settings` (hookd.toml) · `fields`, `catalogue` (apps/*.toml) ·
`problems` (what is wrong with a file, for people) · `deployment` (the record and its transition table) ·
`journal` (what an app's own directory remembers) ·
`view` (what the worker publishes of an app) · `queue` (names in Redis and the functions a job may call).
"""
