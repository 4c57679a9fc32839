"""A real git repository: a bare one that is deployed from, and a work tree that pushes to it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Lovelace",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Repository:
    """`bare` is what hookd fetches from, `work` is where a developer commits."""

    def __init__(self, directory: Path, object_format: str = "sha1") -> None:
        self.bare = directory / "remote.git"
        self.work = directory / "work"
        directory.mkdir(parents=True, exist_ok=True)
        option = f"--object-format={object_format}"
        self._git("init", "-q", "--bare", option, "-b", "main", str(self.bare), cwd=directory)
        self._git("init", "-q", option, "-b", "main", str(self.work), cwd=directory)
        self.git("remote", "add", "origin", str(self.bare))

    @property
    def url(self) -> str:
        """The address that hookd uses for the repository."""
        return f"file://{self.bare}"

    def git(self, *arguments: str) -> str:
        """Run git in the work tree and return what it printed."""
        return self._git(*arguments, cwd=self.work)

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "a change") -> str:
        """Write files (None deletes one), commit them and return the commit's id."""
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.commit_all(message)

    def commit_all(self, message: str = "a change") -> str:
        """Commit the work tree as it is and return the commit's id."""
        self.git("add", "-A", "-f", ".")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        """Name the commit of the work tree."""
        return self.git("rev-parse", "HEAD").strip()

    def push(self, branch: str = "main") -> str:
        """Push the work tree's commit and return its id."""
        self.git("push", "-q", "-f", "origin", f"HEAD:refs/heads/{branch}")
        return self.head()

    def add_submodule(self, path: str, url: str, commit: str) -> None:
        """Add a submodule to the index, as `git submodule add` does, without a copy of it."""
        with (self.work / ".gitmodules").open("a") as file:
            file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        self.git("add", ".gitmodules")
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")

    def commit_index(self) -> str:
        """Commit the index alone, push it, and return the commit's id."""
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.push()

    def commit_and_push(self, files: Mapping[str, str | bytes | None], message: str = "a change") -> str:
        """Commit, push, and return the commit's id."""
        self.commit(files, message)
        return self.push()

    @staticmethod
    def _git(*arguments: str, cwd: Path) -> str:
        env = {**os.environ, **IDENTITY}
        done = subprocess.run(["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"git {' '.join(arguments)}: {done.stderr}")
        return done.stdout
