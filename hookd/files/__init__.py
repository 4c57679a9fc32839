"""Files on shared directories.

Map: `safe_open` (opening and walking) · `policies` (the wanted attributes) · `attributes`, `acl` (the found ones) ·
`audit` (the comparison and its repair).
"""
