"""What receiver, worker and command line do with disk and Redis in the same way.

Map: `config` (reads the configuration files) · `connection` (three ways to reach Redis) · `jobs` (RQ's classes, made
safe) · `records`, `requests`, `stored` (deployments: created, joined, changed, listed, forgotten) · `decisions`,
`counts` (what was decided, how often things happened) · `eventlog` (what hookd's programs say of themselves).
"""
