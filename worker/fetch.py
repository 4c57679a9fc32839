"""Fetches the branch of a repository into the mirror of an app that is not installed yet.

`python -m worker.fetch NAME URL BRANCH [KEY]` prints the mirror, the commit and the branch, or prints the error in one
line and ends with 1. An empty `BRANCH` means the repository's own. `KEY` is the app's deploy key.
"""

import sys

from pydantic import ValidationError

from hookd.config import ConfigError, config_path, from_validation, load
from hookd.model.app import App
from hookd.model.settings import AppPaths, Settings
from worker.errors import DeployError
from worker.release.git import read_head, read_own_branch
from worker.release.git_mirror import GitMirror

_SECONDS = 30.0


def main(arguments: list[str]) -> int:
    """Fetch, and print the result or the error. Return the exit status."""
    name, url, branch, *key = arguments
    try:
        settings = load(config_path(), only="").settings
        app = _app(name, url, branch or "main", *key)
        if not branch:
            app = app.model_copy(update={"branch": read_own_branch(app, settings, _SECONDS)})
        print(*_fetch(app, settings), app.branch)
    except ValidationError as error:
        print(from_validation("repository", error)[0].text)
    except (ConfigError, DeployError) as error:
        print(error.cause)
    else:
        return 0
    return 1


def _app(name: str, url: str, branch: str, key: str | None = None) -> App:
    """Return an app with a repository and with nothing to run."""
    table = {"name": name, "repository": url, "branch": branch, "deploy_key": key, "full_name": "not/known"}
    return App.model_validate({**table, "root": "/nonexistent", "health": {"url": "http://127.0.0.1/"}})


def _fetch(app: App, settings: Settings) -> tuple[str, str]:
    """Fetch a branch, and return the mirror and the commit. Raises DeployError."""
    read_head(app, settings, _SECONDS)  # Its message has the reason why a repository cannot be read.
    return str(AppPaths(app, settings).mirror), GitMirror(app, settings, lambda line: None).fetch_head()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
