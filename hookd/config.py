"""The configuration: hookd.toml and apps/*.toml, read once at the edge, with all problems reported at once."""

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from hookd.model.ids import is_app
from hookd.model.settings import Settings
from hookd.model.tables.spelling import key_of, nearest_key, wanted

Model = TypeVar("Model", bound=BaseModel)

VARIABLE: Final = "HOOKD_CONFIG"
DEFAULT: Final = Path("/etc/hookd/hookd.toml")
# A link to the installed version, set by `./run install`.
INSTALLED: Final = Path("/opt/hookd/current")
# The user part and the query of a URL.
_CREDENTIALS: Final = re.compile(r"(://|//|:)[^\s'\"]*(@)|(?<=\?)[^\s'\"]+")
# Files of variables that an app reads itself.
ENV_FILE: Final = re.compile(r"(?:^|/)\.env[^/]*$|\.env$")
WRONG_NAME: Final = "an app's file is named [a-z][a-z0-9-]{0,31}.toml"
# By pydantic's kind of error.
_TEXTS: Final = {
    "extra_forbidden": "unknown key, {nearest}",
    "missing": "missing, but this key is required",
    "value_error": "invalid value {value}, expected {error}",
    **dict.fromkeys(("literal_error", "enum"), "invalid value {value}, expected {expected}"),
    "string_pattern_mismatch": "invalid value {value}, expected text that matches {pattern}",
    "wanted": "invalid value {value}, expected {wanted}",
}


@dataclass(frozen=True)
class Problem:
    """One problem in a file. `path` is the key, `files` are those of a conflict. A `denied` file may not be read."""

    file: str
    path: str
    text: str
    denied: bool = False
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.file}: {self.path}" if self.path else self.file
        return f"{place}: {self.text}"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds every reason."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

    @property
    def cause(self) -> str:
        """The first reason in one sentence."""
        return f"the configuration cannot be used: {self.problems[0]}"


@dataclass(frozen=True)
class Config:
    """The host's settings, the catalogue, and their file."""

    path: Path
    settings: Settings
    catalogue: Catalogue

    @property
    def apps(self) -> Path:
        """The directory of the catalogue."""
        return self.settings.apps or self.path.parent / "apps"

    @property
    def freeze_directory(self) -> Path:
        """The directory with one file per frozen app."""
        return self.settings.frozen or self.path.parent / "frozen"

    @property
    def is_own(self) -> bool:
        """Return True for an app of `hookd up`."""
        return is_own(self.path)

    @property
    def is_server(self) -> bool:
        """Return True on a host that `hookd setup` made: there Redis asks for passwords."""
        return self.settings.redis.passwords is not None

    def app_names(self) -> list[str]:
        """Return the names of all files in the catalogue, valid or not."""
        return [file.stem for file in _files(self.apps, [], optional=True)]


def config_path(given: Path | None = None, environment: Mapping[str, str] = os.environ, *, app: str = "") -> Path:
    """Return the configuration file: `given`, else $HOOKD_CONFIG, else /etc/hookd/hookd.toml.

    Where the last is missing, it is the one that `hookd up` made for `app`, or else the only one of this user.
    """
    if given is not None or environment.get(VARIABLE) or DEFAULT.exists():
        return (given or Path(environment.get(VARIABLE) or DEFAULT)).absolute()
    own = own_configs()
    named = [path for path in own if path.parent.name == app]
    return next(iter(named or own), DEFAULT) if named or len(own) == 1 else DEFAULT


def own_directory() -> Path:
    """Return the directory in which `hookd up` keeps the apps of this user."""
    return Path.home() / ".hookd"


def own_configs() -> list[Path]:
    """Return the configurations that `hookd up` made for this user, and none that another user owns."""
    return sorted(path for path in own_directory().glob("*/hookd.toml") if path.stat().st_uid == os.geteuid())


def is_own(path: Path) -> bool:
    """Return True for a configuration that `hookd up` made for this user."""
    return path.parent.parent == own_directory()


def load(path: Path, *, only: str | None = None) -> Config:
    """Read the settings and every app, or only one app. Raises ConfigError with all problems of the files read."""
    config, problems = _load(path, only)
    if problems or config is None:
        raise ConfigError(problems)
    return config


def load_valid_apps(path: Path) -> tuple[Config, list[Problem]]:
    """Read the settings and the valid apps, and return the problems of the other apps.

    Raises ConfigError if the settings are invalid.
    """
    config, problems = _load(path, None)
    if config is None:
        raise ConfigError(problems)
    return config, problems


def config_or_none(only: str = "") -> Config | None:
    """Return the configuration, with one app's file at most, or None if it is broken."""
    try:
        return load(config_path(), only=only)
    except ConfigError:
        return None


def configured_at(config: Config, app: App) -> datetime:
    """Return the time of the newest change of an app's file, its variables and its shared `.env` files.

    A change of hookd.toml counts, too. A missing file counts as never changed.
    """
    shared = (app.shared_root / path for path in app.shared.files if ENV_FILE.search(path))
    times = [0.0]
    for file in (config.path, config.apps / f"{app.name}.toml", *app.variable_files, *shared):
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC)


def unreadable(file: Path, error: OSError, name: str = "") -> Problem:
    """Return the problem of a file that cannot be read. `name` describes the file."""
    return Problem(str(file), "", f"{name}cannot be read: {error.strerror}", isinstance(error, PermissionError))


def from_validation(file: str, error: ValidationError, model: type[BaseModel] = App) -> list[Problem]:
    """Return the problems of a validation error of a model, without defaults that an invalid value prevents."""
    found = (item for item in error.errors(include_url=False) if item["type"] != "default_factory_not_called")
    # A value that fits none of several types has an error for each.
    first: dict[str, ErrorDetails] = {}
    for item in found:
        first.setdefault(key_of(item["loc"]), item)
    return [Problem(file, key, _text(item, model)) for key, item in first.items()]


def _load(path: Path, only: str | None) -> tuple[Config | None, list[Problem]]:
    problems: list[Problem] = []
    table = _table(path, problems)
    settings = _validated(Settings, path, table, problems)
    default = path.parent / "apps"
    directory = _directory(table, default)
    files = _files(directory, problems, optional=directory == default)
    apps = _apps([file for file in files if only in (None, file.stem)], problems)
    catalogue = Catalogue(apps=tuple(apps))
    for conflict in catalogue.conflicts():
        both = tuple(str(directory / f"{name}.toml") for name in conflict.apps)
        problems.append(Problem(str(directory), "", str(conflict), files=both))
    return Config(path, settings, catalogue) if settings else None, problems


def _directory(table: Mapping[str, Any] | None, default: Path) -> Path:
    """Return the catalogue's directory even for invalid settings, so that problems of apps are also reported."""
    given = (table or {}).get("apps")
    return Path(given) if isinstance(given, str) and given.startswith("/") and "\x00" not in given else default


def _files(directory: Path, problems: list[Problem], *, optional: bool) -> list[Path]:
    try:
        return sorted(file for file in directory.iterdir() if file.name.endswith(".toml"))
    except OSError as error:
        if not (optional and isinstance(error, FileNotFoundError)):
            problems.append(unreadable(directory, error, "the catalogue "))
        return []


def _apps(files: list[Path], problems: list[Problem]) -> list[App]:
    apps = []
    for file in files:
        if not is_app(file.stem):
            problems.append(Problem(str(file), "", WRONG_NAME))
            continue
        table = _table(file, problems)
        if table is not None and "name" in table:
            problems.append(Problem(str(file), "name", "unknown key, remove it because the file names the app"))
        app = _validated(App, file, table if table is None else {**table, "name": file.stem}, problems)
        if table is not None and "name" not in table and app is not None:
            apps.append(app)
    return apps


def _validated(model: type[Model], file: Path, table: dict[str, Any] | None, problems: list[Problem]) -> Model | None:
    if table is None:
        return None
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems += from_validation(str(file), error, model)
        return None


def _table(file: Path, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(str(file), "", f"not TOML: {error}"))
    except UnicodeDecodeError:
        problems.append(Problem(str(file), "", "not UTF-8 text"))
    except OSError as error:
        problems.append(unreadable(file, error))
    return None


def _text(item: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    expected = wanted(item["loc"], kind, context)
    text = _TEXTS["wanted"] if expected and (kind not in _TEXTS or kind == "string_pattern_mismatch") else None
    text = text or _TEXTS.get(kind, "invalid value {value}, {message}")
    nearest = nearest_key(model, item["loc"]) if kind == "extra_forbidden" else None
    values = {
        **context,
        "value": _quote_value(item["input"]),
        "message": item["msg"][0].lower() + item["msg"][1:],
        "wanted": expected,
        "nearest": f"perhaps {nearest} is meant" if nearest else "remove it or check its spelling",
    }
    return text.format_map(values)


def _quote_value(value: object) -> str:
    if isinstance(value, dict):
        return "this table"
    text = _CREDENTIALS.sub(r"\1***\2", repr(value))
    return text if len(text) <= 80 else f"{text[:77]}…"
