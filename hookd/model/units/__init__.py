"""An app's units on a server beside its web process: their names, commands, places and rights.

Map: `phases` (build, check, backup, release) · `backup` (its command and its way back) · `processes` (with timers) ·
`systemctl` (what the worker may do with units). `./run install` reads the first two before any package is there.
"""
