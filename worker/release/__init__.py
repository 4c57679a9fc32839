"""The parts of a release on disk.

`git_mirror` fetches with the commands of `git`, `checkout` adds submodules, and `large_files` the files of git-lfs.
`requirements` and `venv` bring its dependencies. `links` links its shared files and switches to it. `ownership` sets
modes, and `disk_space` checks free space.
"""
