"""Files on shared directories.

Map: `safe_open` (opening and walking) · `policies` (the wanted attributes) · `attributes` (the found ones) ·
`audit` (the comparison and its repair).
"""
