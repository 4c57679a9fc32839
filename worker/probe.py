"""Asks an app's repository for its branch's head as a deployment would, and changes nothing.

`python -m worker.probe APP` prints the head and ends with 0, or prints in one line what is wrong and ends with 1. A
number after the app is how many seconds are waited at most.
"""

import sys
from typing import Final

from hookd.config import ConfigError, config_path, load
from hookd.model.app import App
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from worker.context import SYSTEM_PATH, host_variables
from worker.errors import CommandFailed, DeployError
from worker.process.run import lines_of
from worker.release.git import GitCommands, git_environment, parse_ls_remote
from worker.report.redaction import Redaction

_SECONDS: Final = 30.0
# What git says after the program it uses, ssh say, has said what is wrong.
_GENERIC_LINES: Final = (
    "fatal: Could not read from remote",
    "Please make sure",
    "and the repository exists",
    "warning:",
)


def main(arguments: list[str]) -> int:
    """Ask, and print the answer; returns the exit status."""
    name, *rest = arguments
    try:
        config = load(config_path(), only=name)
    except ConfigError as error:
        print(f"the configuration cannot be used: {error.problems[0]}")
        return 1
    app = config.catalogue.get(name)
    if app is None:
        print(f"there is no app {name!r} in the catalogue")
        return 1
    try:
        print(read_head(app, config.settings, float(rest[0]) if rest else _SECONDS))
    except DeployError as error:
        print(error.cause)
        return 1
    return 0


def read_head(app: App, settings: Settings, seconds: float, *, alone: bool = True) -> str:
    """Name the commit at the head of an app's branch; raises DeployError."""
    try:
        lines = lines_of(git_for(app, settings, seconds).ls_remote(app.repository, app.branch), alone=alone)
    except CommandFailed as error:
        raise type(error)(_cause(app, error)) from None
    head = parse_ls_remote(lines, app.ref)
    if head is None:
        raise DeployError(f"{app.repository} has no branch {app.branch}")
    return head


def git_for(app: App, settings: Settings, seconds: float) -> GitCommands:
    """Git as a deployment of the app would use it, on the app's mirror."""
    places = AppPaths(root=app.root, settings=settings, app=app.name)
    environment = {"PATH": SYSTEM_PATH, **host_variables(), **git_environment(app, settings, places.home)}
    return GitCommands(places.mirror, min(seconds, app.limits.git_seconds), environment)


def _cause(app: App, error: CommandFailed) -> str:
    """Say what git's helper said, which knows more than git; of a proxy's address also what nobody may read."""
    telling = [line for line in error.lines if line and not line.startswith(_GENERIC_LINES)]
    said = Redaction(host_variables()).apply(telling[-1] if telling else error.cause)
    return f"{app.repository} cannot be read: {said}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
