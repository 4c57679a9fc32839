"""What receiver, worker and command line do with disk and Redis in the same way.

Map: `config` (reads the configuration files) · `connection` (three ways to reach Redis) · `jobs` (RQ's classes, made
safe) · `records`, `requests`, `stored` (deployments: created, joined, changed, listed, forgotten) · `decisions`,
`counts` (what was decided, how often things happened) · `freezes` (which apps are frozen) · `eventlog` (what hookd's
programs say of themselves) · `credentials` (passwords from files) · `redis_program` (the server to run) · `ownership`
(the policies) · `drift`, `foreign` (what is not right) · `judge`, `rights`, `acl` (one path) · `tree` (safe paths and
walks) · `plain` (files in a directory of somebody else's).
"""
