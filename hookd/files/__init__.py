"""Files on shared directories.

Map: `safe_open` (opening and walking) · `policies` (the wanted attributes) · `attributes` (the found ones) ·
`repair` (one path's mismatch and its repair) · `audit` (a tree and its policy) · `data` (an app's data) ·
`build_owner` (a build's trees change hands) · `backups` and `sqlite_copies` · `links` (atomic switch of a link).
"""
