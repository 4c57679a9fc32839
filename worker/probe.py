"""Asks an app's repository for its branch's head as a deployment would, and changes nothing.

`python -m worker.probe APP [SECONDS]` prints the head and ends with 0, or prints the error in one line and ends with 1.
"""

import sys
from typing import Final

from hookd.config import ConfigError, config_path, load
from hookd.model.app import App
from hookd.model.journal import AppState
from hookd.model.paths import AppPaths
from hookd.model.settings import Settings
from worker.context import SYSTEM_PATH, host_variables
from worker.errors import CommandFailed, DeployError
from worker.process.run import lines_of
from worker.release.git import GitCommands, git_environment, parse_ls_remote
from worker.report.log_file import Redaction

_SECONDS: Final = 30.0
_COUNT_SECONDS: Final = 10.0
# git prints these after the message of its transport, such as ssh.
_GENERIC_LINES: Final = (
    "fatal: Could not read from remote",
    "Please make sure",
    "and the repository exists",
    "warning:",
)


def main(arguments: list[str]) -> int:
    """Print the head or the error. Return the exit status."""
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


def read_head(app: App, settings: Settings, seconds: float) -> str:
    """Return the commit at the head of an app's branch. Raises DeployError."""
    try:
        lines = lines_of(_git(app, settings, seconds).ls_remote(app.repository, app.branch))
    except CommandFailed as error:
        specific = [line for line in error.lines if line and not line.startswith(_GENERIC_LINES)]
        # A proxy's address may hold a password.
        cause = Redaction(host_variables()).apply(specific[-1] if specific else error.cause)
        raise type(error)(f"{app.repository} cannot be read: {cause}") from None
    head = parse_ls_remote(lines, app.ref)
    if head is None:
        raise DeployError(f"{app.repository} has no branch {app.branch}")
    return head


def commits_behind(app: App, settings: Settings, state: AppState, head: str | None) -> int | None:
    """Return the number of commits from the deployed one to the head, or None if it is not known.

    It is not known if the mirror lacks one of them, because nothing is fetched here, or if the history was rewritten.
    """
    if head is None or state.deployed is None or state.deployed.commit == head:
        return None
    try:
        lines = lines_of(_git(app, settings, _COUNT_SECONDS).count(state.deployed.commit, head))
    except CommandFailed:
        return None
    left, _, right = (lines or [""])[-1].partition("\t")
    return int(right) if left == "0" and right.isdigit() else None


def _git(app: App, settings: Settings, seconds: float) -> GitCommands:
    """Return the git commands for the app's mirror, as a deployment runs them."""
    paths = AppPaths(root=app.root, settings=settings, app=app.name)
    environment = {"PATH": SYSTEM_PATH, **host_variables(), **git_environment(app, settings, paths.home)}
    return GitCommands(paths.mirror, min(seconds, app.limits.git_seconds), environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
