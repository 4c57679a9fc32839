"""The commands `hookd app …`.

Map: `commands` (list, show, remove, and what others print) · `add` · `adopt` · `edit`.
"""
