"""The main job on one machine, without root: `hookd demo`.

Map: `place` (writes configuration, repository and process manager's file into a directory) · `processes` (starts and
stops them all) · `visitors` (ask the app all the time and count what fails) · `story` (the three pushes) · `app/` (the
files that are pushed).
"""
