"""The phases in which the app's own code runs. On a server the worker's process runs none of it.

`phases` starts them: on a server in systemd units of their own (`unit`), and with circus as this user. `backup` keeps
what the command of a backup prints. `environment` holds their variables. `build_program` is what the
unit of a build runs.
"""
