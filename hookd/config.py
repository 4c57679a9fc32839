"""Reads hookd.toml and apps/*.toml once, at the edge, and reports everything that is wrong with them at once."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from hookd.model.app import App, Catalogue
from hookd.model.config_errors import Problem, from_validation
from hookd.model.ids import is_app
from hookd.model.settings import Settings

Model = TypeVar("Model", bound=BaseModel)

VARIABLE: Final = "HOOKD_CONFIG"
DEFAULT: Final = Path("/etc/hookd/hookd.toml")
# Where `./run install` leads to the version in use.
INSTALLED: Final = Path("/opt/hookd/current")


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds everything that is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Config:
    """The host's settings, the catalogue, and the file they came from."""

    path: Path
    settings: Settings
    catalogue: Catalogue

    @property
    def frozen(self) -> Path:
        """The directory with one file per frozen app."""
        return self.settings.frozen or self.path.parent / "frozen"


def config_path(given: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Choose the configuration file: the one given, else $HOOKD_CONFIG, else /etc/hookd/hookd.toml."""
    return (given or Path(environment.get(VARIABLE) or DEFAULT)).absolute()


def load(path: Path, *, only: str | None = None) -> Config:
    """Read the settings and every app, or `only` the one of that name.

    Raises ConfigError with all problems of all files that were read.
    """
    problems: list[Problem] = []
    table = _table(path, problems)
    settings = _validated(Settings, path, table, problems)
    default = path.parent / "apps"
    directory = _directory(table, default)
    files = _files(directory, problems, optional=directory == default)
    if only is not None:
        files = [file for file in files if file.stem == only]
    catalogue = Catalogue(apps=tuple(_apps(files, problems)))
    problems += [Problem(str(directory), "", clash) for clash in catalogue.conflicts()]
    if problems or settings is None:
        raise ConfigError(problems)
    return Config(path, settings, catalogue)


def load_valid_apps(path: Path) -> tuple[Config, list[Problem]]:
    """Read the settings and those apps that have no mistake, and say what is wrong with the others.

    Raises ConfigError when the settings themselves cannot be used.
    """
    try:
        return load(path), []
    except ConfigError as error:
        problems = error.problems
    alone = load(path, only="")
    directory = alone.settings.apps or path.parent / "apps"
    apps = tuple(app for file in sorted(directory.glob("*.toml")) for app in _alone(path, file.stem))
    return Config(path, alone.settings, Catalogue(apps=apps)), problems


def _alone(path: Path, name: str) -> tuple[App, ...]:
    try:
        return load(path, only=name).catalogue.apps
    except ConfigError:
        return ()


def _directory(table: Mapping[str, Any] | None, default: Path) -> Path:
    """Find the catalogue even when something else is wrong with the settings: its problems are reported, too."""
    given = (table or {}).get("apps")
    return Path(given) if isinstance(given, str) and given.startswith("/") and "\x00" not in given else default


def _files(directory: Path, problems: list[Problem], *, optional: bool) -> list[Path]:
    try:
        return sorted(file for file in directory.iterdir() if file.name.endswith(".toml"))
    except OSError as error:
        if optional and isinstance(error, FileNotFoundError):
            return []
        problems.append(Problem(str(directory), "", f"the catalogue cannot be read: {error.strerror}"))
        return []


def _apps(files: list[Path], problems: list[Problem]) -> list[App]:
    apps = []
    for file in files:
        if not is_app(file.stem):
            problems.append(Problem(str(file), "", "an app's file is named [a-z][a-z0-9-]{0,31}.toml"))
            continue
        table = _table(file, problems)
        if table is not None and "name" in table:
            problems.append(Problem(str(file), "name", "unknown key; remove it: an app is called after its file"))
        app = _validated(App, file, table if table is None else {**table, "name": file.stem}, problems)
        if app is not None:
            apps.append(app)
    return apps


def _validated(model: type[Model], file: Path, table: dict[str, Any] | None, problems: list[Problem]) -> Model | None:
    if table is None:
        return None
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems += from_validation(str(file), error)
        return None


def _table(file: Path, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(str(file), "", f"not TOML: {error}"))
    except UnicodeDecodeError:
        problems.append(Problem(str(file), "", "not UTF-8 text"))
    except OSError as error:
        problems.append(Problem(str(file), "", f"cannot be read: {error.strerror}"))
    return None
