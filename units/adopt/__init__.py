"""`hookd app adopt`: adopts a project that is deployed by hand.

Map: `discovery` and `discover` (the project as facts) · `decide` (facts → an adoption, or all blockers) ·
`edits` (a person's edits between two runs) · `describe` (it as text) · `state` (it, saved on disk) ·
`prepare`, `execute` (carry it out or roll it back) · `nginx` (its files).

The interim unit is a copy of the project's unit. It runs the first release while the unit itself changes.
"""
