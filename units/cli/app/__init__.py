"""The commands `hookd app …`.

Map: `commands` (list, show, remove) · `add` · `adopt` · `edit` · `shared`, the parts of several.
"""
