"""Reads the Python of a project: its modules, the packages that it asks for, and the values of expressions."""
