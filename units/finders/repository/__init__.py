"""Reads the files of a commit: its tree, example files, containers, and the commands that start something."""
