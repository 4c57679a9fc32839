"""Owners and modes of an app's files.

Map: `policies` (the wanted attributes) · `attributes` (the found ones) · `repair` (one path's mismatch and its
repair) · `audit` (a tree and its policy) · `data` (an app's data).
"""
