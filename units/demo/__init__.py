"""`hookd demo`: three pushes on one machine, without root.

Map: `environment` (the demo's directory) · `processes` (start and stop) · `visitors` (requests all the time) · `story`
(the three pushes) · `app/` (the pushed files).
"""
