"""One app on this machine without root: a directory with everything of hookd, and circus, which runs it.

`home` is the directory and its files, `services` starts and stops what runs in it, `source` is the repository.
"""
