"""Reads a repository at a commit and finds how hookd can run it. Runs as a user without rights, and runs no code of it.

`plan.py` calls the finders, one noun each, and `tree.py` reads git. Nothing of the repository is imported.
"""
