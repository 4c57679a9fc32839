"""The variables that an app keeps in files: what its commands are given, and what no log may tell."""

import re
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

from dotenv import dotenv_values

from hookd.contract.catalogue import App
from hookd.store.plain import open_plain
from worker.errors import DeployError

_ENV_FILE: Final = re.compile(r"(?:^|/)\.env[^/]*$|\.env$")


def app_environment(app: App) -> dict[str, str]:
    """Read the app's own variables; raises DeployError when their file cannot be read."""
    file = app.build.environment_file
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8") as stream:
            return _values(stream)
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"the app's variables in {file} cannot be read: {error}") from None


def shared_variables(app: App) -> list[dict[str, str]]:
    """Read what stands in shared files such as `.env`, as far as that can be: known so that no log tells it."""
    return [_variables(app.shared_root / path) for path in app.shared.files if _ENV_FILE.search(path)]


def _variables(file: Path) -> dict[str, str]:
    try:
        with TextIOWrapper(open_plain(file), encoding="utf-8", errors="replace") as stream:
            return _values(stream)
    except OSError:
        return {}


def _values(stream: TextIO) -> dict[str, str]:
    found = dotenv_values(stream=stream, interpolate=False)
    return {name: value for name, value in found.items() if value is not None}
