"""The app's virtual environment: its packages, the Python that fits, the build by uv, and the links that make it cheap.

`commit_files` reads each file of the commit, within limits and never outside of the release.
`source` chooses the file that lists the packages, read by `requirements` (as pip does), `project` (pyproject.toml) and
`locks` (Pipfile.lock, pdm.lock). `python` chooses the interpreter. `commands` builds uv's command lines, `base` links
the files of an earlier environment, `server` adds gunicorn, and `prepare` does all of it in order.
"""
