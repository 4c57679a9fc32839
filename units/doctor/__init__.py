"""`hookd doctor`: checks a server and names the command that repairs each problem.

It changes nothing, starts nothing and runs only programs of root. Every wait ends.

Map: `run` (runs the checks side by side) · `context` (their input) · `finding` (their result) · `report` (text, JSON,
exit status) · `checks` (one module per subject).
"""
