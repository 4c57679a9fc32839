"""What receiver, worker and command line do with disk and Redis in the same way.

Map: `config` (reads the configuration files) · `connection` (three ways to reach Redis) · `jobs` (RQ's classes, made
safe) · `records` (deployments: created, joined, changed, listed, forgotten).
"""
