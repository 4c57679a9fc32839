"""The table of an app's file, before it is one.

Map: `options` (from typed options, completed and parsed) · `findings` (from the plan of a repository) · `own_file`
(from a person's file) · `keys` (single keys) · `credentials` (which it must not hold).
"""
