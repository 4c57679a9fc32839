"""The parts of a release on disk.

`git_mirror` brings its files with the commands of `git`, `requirements` and `venv` its dependencies. `links` links shared
files and switches to a release. `ownership` and `disk_space` set modes and check free space.
"""
