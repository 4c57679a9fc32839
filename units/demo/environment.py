"""Fills the demo's directory: configuration, repository with its hook, and the configuration of circus."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from units.system.run import run
from units.up.home import Home, create, free_port, write_settings
from units.up.source import first_table

APP: Final = "shop"
FILES: Final = Path(__file__).parent / "app"
# A push without a webhook is found this soon. The default of three minutes is long for a spectator.
RECONCILE_SECONDS: Final = 20
_IDENTITY: Final = ("-c", "user.name=You", "-c", "user.email=you@example.org")


@dataclass(frozen=True)
class DemoEnvironment:
    """The demo's directory and its two ports."""

    directory: Path
    app_port: int
    hook_port: int

    @property
    def home(self) -> Home:
        """The files and services, as of `hookd up`."""
        return Home(self.directory, APP, reconciles=False)

    @property
    def work(self) -> Path:
        """The clone in which a person edits and commits."""
        return self.directory / "work"

    @property
    def remote(self) -> Path:
        return self.directory / f"{APP}.git"

    @property
    def environment_file(self) -> Path:
        """Variables for `hookd` and `rq` in another terminal. The worker writes them."""
        return self.directory / "state" / "rq.env"

    @property
    def app_url(self) -> str:
        return f"http://127.0.0.1:{self.app_port}/"

    @property
    def hookd_url(self) -> str:
        return f"http://127.0.0.1:{self.hook_port}"

    @property
    def table(self) -> dict[str, Any]:
        """The app's table. A machine for a try may be small."""
        table = first_table(self.home, f"file://{self.remote}", "main", self.app_port, "/healthz")
        table["health"]["deadline"] = 20
        return {**table, "reconcile": {"every": RECONCILE_SECONDS}, "limits": {"free_mib": 100, "free_inodes": 1000}}


def create_environment(directory: Path) -> DemoEnvironment:
    """Fill an empty directory."""
    demo = DemoEnvironment(directory, free_port(), free_port())
    write_settings(demo.home, demo.hook_port)
    create(demo.home, demo.table, "")
    _create_repositories(demo)
    return demo


def _create_repositories(demo: DemoEnvironment) -> None:
    _git(demo.directory, "init", "--quiet", "--bare", "--initial-branch=main", str(demo.remote))
    hook = demo.remote / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\n# Sends each push to hookd, with Gitea's signature.\n"
        f"exec '{sys.executable}' -P -m hookd.cli --config '{demo.home.config_file}' send {APP} --post-receive\n"
    )
    hook.chmod(0o755)
    _git(demo.directory, "init", "--quiet", "--initial-branch=main", str(demo.work))
    _git(demo.work, "remote", "add", "origin", str(demo.remote))


def commit_and_push(demo: DemoEnvironment, version: str, message: str) -> str:
    """Change files, commit and push. Return the output of git and of the hook."""
    for file in sorted((FILES / version).iterdir()):
        shutil.copyfile(file, demo.work / file.name)
    _git(demo.work, "add", "--all")
    _git(demo.work, "commit", "--quiet", "--message", message)
    return _git(demo.work, "push", "--quiet", "origin", "main")


def _git(directory: Path, *arguments: str) -> str:
    """Run git without the person's own settings. Raises CommandFailed."""
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return run(("git", "-C", str(directory), *_IDENTITY, *arguments), extra=environment)
