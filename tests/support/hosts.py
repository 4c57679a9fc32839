"""A host in small, for root: nobody is the worker, www-data the app's user, and an app's directories are as set up."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hookd.files.ownership.policies import Policy, code_policy, umask_of
from hookd.model.app import App
from hookd.model.settings import Settings
from tests.support.repository import Repository
from tests.support.tasks import deploying, make_app, make_settings
from tests.support.users import NOBODY, as_nobody, as_user, open_directory
from tests.support.wheels import make_wheel
from worker.deploy.build import build, check
from worker.deploy.target import Target
from worker.environment.server import GUNICORN
from worker.release.git_mirror import GitMirror
from worker.release.ownership import make_directories, release_policy

WORKER, WEB = "nobody", "www-data"
FILES: Mapping[str, str] = {
    "app.py": "import hello\nprint('ready', hello.VERSION)\n",
    "bin/tool": "#!/bin/sh\necho works\n",
    "pkg/deep/module.py": "",
    "requirements.txt": "hello==1.0\n",
}
SHARED = {"files": [".env"], "directories": ["uploads"]}
# Root's directory, as `hookd app add` makes it.
_GROUP_AND_MODE = {"group": (WEB, 0o2750), "split": ("nogroup", 0o755), "acl": ("nogroup", 0o750)}


@dataclass(frozen=True)
class Host:
    """An app called shop below a directory, under one of the ownership policies."""

    directory: Path
    policy: str
    python: Path
    repository: Repository

    @property
    def root(self) -> Path:
        """The app's directory."""
        return self.directory / "srv"

    @property
    def settings(self) -> Settings:
        """hookd's settings."""
        return make_settings(self.directory, python=self.python)

    @property
    def uv(self) -> str:
        """The uv program that the worker uses."""
        return shutil.which("uv", path=f"{sys.prefix}/bin:{os.environ['PATH']}") or pytest.skip("there is no uv")

    @property
    def code_policy(self) -> Policy:
        """Return the policy of releases and environments."""
        worker = pwd.getpwnam(WORKER)
        return code_policy(self.app().ownership, worker.pw_uid, worker.pw_gid)

    def app(self, **over: Any) -> App:
        """Return the app's entry in the catalogue."""
        wheels = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(self.directory / "wheels")}
        table = {
            "ownership": {"policy": self.policy, "group": WEB, "user": WEB},
            "shared": SHARED,
            "dependencies": {"environment": wheels},
            "service": {"preflight": []},
        }
        return make_app(self.directory, **{**table, **over})

    def as_worker(self, work: Callable[[], object]) -> str:
        """Run a function as the worker's user, who is in the app's group."""
        return as_nobody(work, groups=(pwd.getpwnam(WEB).pw_gid,))

    def as_app(self, work: Callable[[], object]) -> str:
        """Run a function as the app's user."""
        web = pwd.getpwnam(WEB)
        return as_user(web.pw_uid, web.pw_gid, work)

    def as_stranger(self, work: Callable[[], object]) -> str:
        """Run a function as a user who has nothing to do with the app."""
        stranger = pwd.getpwnam("games")
        return as_user(stranger.pw_uid, stranger.pw_gid, work)

    def commit(self, files: Mapping[str, str | bytes | None]) -> None:
        """Push files. A name with `bin` is executable."""
        told = self.as_worker(lambda: _commit(self.repository, files))
        assert told == "None", told

    def deploy(self, **over: Any) -> tuple[Path, str]:
        """Build the branch's head as the worker does, and return the release and the log."""
        told = self.as_worker(lambda: "\n".join(self._deploy(over)))
        name, _, log = told.partition("\n")
        assert not name.startswith("Traceback"), told
        return self.root / "releases" / name, log

    def refused(self, **over: Any) -> str:
        """Try to build the branch's head, and return why it is refused."""
        return self.as_worker(lambda: self._deploy(over)).strip().splitlines()[-1]

    def _deploy(self, over: Mapping[str, Any]) -> tuple[str, str]:
        app = self.app(**over)
        os.umask(umask_of(app.ownership))
        with deploying(self.directory, app, self.settings) as at:
            task, policy = at.task, release_policy(app.ownership)
            make_directories(task, policy)
            checkout = GitMirror(app, task.settings, task.recorder.line)
            commit = checkout.fetch_head()
            target = Target(commit, commit)
            new = build(task, task.journal.state(), target, checkout, policy)
            check(task, new, target, policy)
            return new.name, at.text


@contextmanager
def host(policy: str) -> Iterator[Host]:
    """Set up an app's directories as root, with a first commit in its repository."""
    with open_directory() as directory:
        made = Host(directory, policy, public_python(), Repository(directory))
        for tree in (made.repository.bare, made.repository.work):
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", tree], check=True)
        _set_up(made)
        made.commit(FILES)
        yield made


def public_python() -> Path:
    """Return a Python that every user may start and that can make environments."""
    own = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (own, Path("/usr/bin/python3")):
        if as_nobody(partial(_makes_environments, candidate)) == "True":
            return candidate
    pytest.skip("there is no Python with venv that every user may start")


def _makes_environments(python: Path) -> bool:
    return subprocess.run([python, "-m", "venv", "-h"], capture_output=True, check=False).returncode == 0


def _set_up(made: Host) -> None:
    group, mode = _GROUP_AND_MODE[made.policy]
    for directory in (made.root, made.root / "shared"):
        _own(directory, WORKER, group, mode)
    _own(made.root / "shared" / "uploads", WEB, WEB, 0o2770)
    env = made.root / "shared" / ".env"
    env.write_text("SECRET=canary\n")
    env.chmod(0o640)
    os.chown(env, NOBODY, pwd.getpwnam(WEB).pw_gid)
    told = made.as_worker(lambda: make_wheel(made.directory / "wheels", "hello"))
    assert told.endswith(".whl"), told
    told = made.as_worker(lambda: make_wheel(made.directory / "wheels", "gunicorn", GUNICORN))
    assert told.endswith(".whl"), told


def _own(directory: Path, user: str, group: str, mode: int) -> None:
    directory.mkdir()
    shutil.chown(directory, user, group)
    directory.chmod(mode)


def _commit(repository: Repository, files: Mapping[str, str | bytes | None]) -> None:
    repository.git("config", "core.fileMode", "true")
    for name in files:
        path = repository.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if "bin" in name:
            path.touch(mode=0o755)
    repository.commit_and_push(files)
