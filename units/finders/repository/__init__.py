"""Reads the files of a commit: its tree, its Python, its lists of packages, and its start commands."""
