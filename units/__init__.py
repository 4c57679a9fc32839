"""What stands on the host beside the code, and the small part that runs as root.

Everything goes the same way: what the host is (`host`) and the catalogue → pure renderers → a plan of values → what is
not right yet is done, and written down.

Map, facts: `layout` (where everything stands) · `places_of` (an app's) · `host` (what this host is) · `nginx_config`
(what nginx serves) · `wish` (from options to an app's table) · `app_table` (from a table to an app) · `app_checks`,
`app_claims` (what stands in an app's way).
Rendering: `templates/`, `templating`, `escape` (values made safe in it) · `host_files`, `app_files`, `redis_acl`,
`circus` · `gunicorn.conf.py` (what an app's gunicorn runs with).
Plans: `plan` (steps as values) · `app_plan`, `setup` (an app's, the host's) · `install`, `manifest` (carried out, and
remembered) · `uninstall` (taken back) · `code` (hookd itself, under /opt).
Commands: `apps` (add, edit, remove) · `services` (start, stop, restart) · `secrets` · `git_access` (deploy keys) ·
`permissions`, `permissions_report` · `adopt/` · `doctor/`.
Doors: `disk` (root's hand on files), `run` (programs), `http` (one question) · `errors`.
This package never imports `worker`, nor the worker it.
"""
