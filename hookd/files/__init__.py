"""Files on shared directories.

Map: `safe_open` (opening and walking) · `ownership` (owners and modes, compared and repaired) · `build_owner` (a
build's trees change hands) · `written`, `in_use` (a release's files and processes) · `backups` and `sqlite_copies` ·
`links` (atomic switch of a link).
"""
