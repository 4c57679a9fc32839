"""An installed app as it runs, for the commands of root.

Map: `services` (start, stop, show its units) · `command` (a person's command in its sandbox) · `restore` (a backup) ·
`health` (wait for an answer) · `lock` (the lock of its deployments).
"""
