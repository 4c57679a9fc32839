"""The plan of a repository, as a person sees it and agrees to it before anything is made.

`show` prints it, `agree` asks about it, and `variables` asks for what its app reads from the environment.
"""
