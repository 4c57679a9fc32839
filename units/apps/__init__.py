"""Apps on a server.

Map: `manage` (install, change and remove an app) · `conflicts` (its problems, before any change) · `changes` (of the
host, for it) · `move` (to another user) · `accounts` · `table` (of its file) · `repository` · `running` · `permissions`
(of its files) · `secrets` · `variables`, `environment` (the problems and the lines of its variables).
"""
