"""The parts of a release on disk.

`git_mirror` brings its files with the commands of `git`, `requirements` and `venv` its dependencies. `links` links its
shared files and switches to it. `ownership` sets modes, and `disk_space` checks free space.
"""
