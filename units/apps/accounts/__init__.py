"""The users and groups of apps.

Map: `users` (an app's user and group, from choice to removal) · `rules` (those that no app may have) · `unit_users`
(those of units that hookd did not make).
"""
