"""Values that all processes share, without input or output.

Map: `app`, `catalogue`, `settings`, their `tables`, `git_hosts` (configuration) · `units` (an app's, on a server) ·
`ids`, `redis_keys` (names) · `deployment`, `journal`, `written` (state) · `decision` (why something is deployed or
not) · `plan` (of a repository) · `hint`, `packages`, `text` (for people) · `python_version`, `nested`.
"""
