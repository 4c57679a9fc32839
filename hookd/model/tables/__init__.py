"""The tables of configuration files, most of them of an app's file (`hookd.model.app`).

Map: `fields` (types of single values) · `spelling` (examples for refused ones) · `repository`, `build`, `files`,
`service`, `processes`, `health`, `site`, `limits` (tables by their subject).
"""
