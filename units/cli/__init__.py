"""The commands of `hookd` that change a server, typed as root.

`common` (root, the lock, the host) · `setup` (setup, uninstall, services, secrets) · `apps` with `add`, `edit`, `adopt`
(`hookd app …`) · `doctor` (doctor, permissions). The work is done in the other rooms of `units`.
"""
