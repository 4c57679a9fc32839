"""The parts of a release on disk.

`git_mirror` brings its files with the commands of `git`, `requirements` and `venv` its dependencies, `shared_files` its
links. `ownership`, `disk_space` and `symlinks` set modes, check free space and switch to a release.
"""
