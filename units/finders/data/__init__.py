"""Finds what an app keeps and reads outside of its code: directories, files and variables."""
