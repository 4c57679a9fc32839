"""The repository of an app.

Map: `git_access` (the worker's key and known hosts) · `inspection` (the branch and the plan of an app to be).
"""
