"""Values that all processes share, without input or output.

Map: `app`, `service`, `git_hosts`, `settings`, `fields` (configuration) · `ids`, `redis_keys`, `systemctl` (names) ·
`deployment`, `hint`, `journal` (state) · `decision` (why something is deployed or not) · `plan` (of a repository) ·
`python_version`, `text`, `nested`.
"""
