"""Reports for people: `log` (redacted lines, and the steps) and `status` (status and decisions).

`cause` turns a failure into its cause and remedy: `output` finds the line of the error, `kinds` knows the remedies.
"""
