"""The commands of `hookd` that change a server, typed as root, and `hookd up`, typed by anybody.

Map: `common` (root, the lock, the host) · `setup` (setup, uninstall, services, secrets) · `app` (`hookd app …`) ·
`plan` (the plan of a repository, shown and agreed) · `typed_files` (the files that a command names) · `env`, `run`,
`restore` · `doctor` (doctor, permissions) · `up` (up, down). The work is done in the other rooms of `units`.
"""
