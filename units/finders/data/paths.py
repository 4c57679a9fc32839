"""Paths below an app's own directory that its code names or writes: SQLite files, uploads, logs, keys."""

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from units.finders.code.environment import variables_in
from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, assignments, dotted, keyword, text_of
from units.finders.code.values import Value, Values, inside
from units.finders.repository.containers import compose_lines
from units.finders.web.service import Service

_NAMES: Final = re.compile(
    r"(?i)^(?:\w+\.|config:)?(?:database(?:_(?:url|uri|path|file|name))?|\w+_database_uri|db|db_(?:path|file|url|name|uri)|sqlite(?:_(?:path|file|url|db|db_path|database))?|"
    r"\w*uploads?(?:_(?:default_dest|folder|dir|path|root|directory))?|media_root|"
    r"(?:\w+_)?data_?(?:dir|path|folder|root|store|base)|storage_(?:dir|path|root|folder)|session_file_dir|"
    r"cache_(?:dir|path|location)|log_(?:dir|folder|path|file)|config_path|instance_path)$"
)
_DATABASE: Final = re.compile(r"(?i)\.(?:sqlite3?|db3?|s3db)$")
_KEY: Final = re.compile(r"(?i)key|secret")
_URL: Final = re.compile(r"sqlite(?:\+\w+)?:///(.+)", re.DOTALL)
_DIRECTORY: Final = re.compile(r"(?i)(?:folder|dir|directory|root|dest|path)$")
_TEST: Final = re.compile(r"(?i)test")
_DEVELOPMENT: Final = re.compile(r"(?i)^dev")
_MAKERS: Final = frozenset("makedirs mkdir".split())
_WRITERS: Final = frozenset(
    "RotatingFileHandler TimedRotatingFileHandler FileHandler WatchedFileHandler connect".split()
)
_COMPOSE_VARIABLE: Final = re.compile(r"\s*-?\s*([A-Z][A-Z0-9_]*)[=:]")


@dataclass(frozen=True)
class DataPath:
    """A path that the app writes, relative to its directory."""

    path: str
    variables: tuple[str, ...]
    source: str
    is_url: bool = False
    is_file: bool = False
    is_written: bool = False

    @property
    def is_database(self) -> bool:
        """True for a file of SQLite."""
        return bool(_DATABASE.search(self.path))


def data_paths(project: Project, service: Service) -> Iterator[DataPath]:
    """Return the paths in the order of the modules that serve. One path may come several times."""
    values = Values(project)
    known = _compose_variables(project)
    for module in service.modules:
        for name, expression in _expressions(values, module):
            value = values.of(module, expression)
            one = _data_path(project, module, name, value, known) if value else None
            if one:
                yield replace(one, source=project.place_of(module, expression))
        yield from _written(project, values, module)


def _expressions(values: Values, module: Module) -> Iterator[tuple[str, ast.expr]]:
    """Return the named values that may be paths of data."""
    skipped = _skipped(module)
    for name, expression in values.names(module).items():
        is_url = (text_of(expression) or "").startswith("sqlite")
        if (is_url or _NAMES.fullmatch(name)) and id(expression) not in skipped:
            yield name, expression
    for node in module.all_of(ast.Dict):
        pairs = {text_of(key): value for key, value in zip(node.keys, node.values, strict=True)}
        if "sqlite" in (text_of(pairs.get("ENGINE")) or "") and (named := pairs.get("NAME")) is not None:
            yield "DATABASE_NAME", named
    for word in (word for call in module.calls for word in call.keywords):
        if word.arg and word.arg.isupper() and _NAMES.fullmatch(word.arg):
            yield word.arg, word.value


def _skipped(module: Module) -> set[int]:
    """Return the values of classes for tests, and of those for development beside one for production."""
    has_production = any("prod" in name.lower() for name in module.classes)
    return {
        id(value)
        for name, made in module.classes.items()
        if _TEST.search(name) or (has_production and _DEVELOPMENT.search(name))
        for _, value in assignments(tuple(made.body))
    }


def _data_path(project: Project, module: Module, name: str, value: Value, known: frozenset[str]) -> DataPath | None:
    """Return the path that a named value means: of a SQLite URL or of a plain text. None for other values."""
    text, setting = value.text, name.rpartition(".")[2].removeprefix("config:")
    url = _URL.fullmatch(text.partition("?")[0])
    path = inside(_relative_to(project, module, url[1]) if url else text)
    if path is None or ":memory:" in text or _TEST.search(posixpath.basename(path)):
        return None
    if url is None and not _is_data(project, setting, text, path):
        return None
    variables = value.variables or ((setting,) if setting in known else ())
    is_file = url is not None or _is_file(setting, path)
    return DataPath(path, variables, project.place(module.path), is_url=url is not None, is_file=is_file)


def _is_data(project: Project, setting: str, text: str, path: str) -> bool:
    """Return True if a plain text is a path of data: no other URL, and no file of the commit."""
    if "://" in text or text.startswith("sqlite") or not text.strip("./"):
        return False
    is_path = "/" in text or _is_file(setting, path) or bool(_DIRECTORY.search(setting))
    return is_path and (_is_database_name(setting) or path not in project.files)


def _is_file(setting: str, path: str) -> bool:
    return _is_database_name(setting) or bool(_DATABASE.search(path))


def _is_database_name(setting: str) -> bool:
    return setting.upper() in ("DATABASE_NAME", "DATABASE", "DB_NAME")


def _relative_to(project: Project, module: Module, path: str) -> str:
    """Return where a relative path of a SQLite URL leads: Flask-SQLAlchemy 3 takes `instance`, 2 the package."""
    requirement = project.packages.get("flask-sqlalchemy")
    if path.startswith("/") or requirement is None:
        return path
    if re.search(r"==\s*[012]\.", requirement):
        return posixpath.join(posixpath.dirname(module.path), path)
    return posixpath.join("instance", path)


def _written(project: Project, values: Values, module: Module) -> Iterator[DataPath]:
    """Return the directories that the code makes, and the files that it opens to write."""
    for call in module.calls:
        last = dotted(call.func).rpartition(".")[2] or (call.func.attr if isinstance(call.func, ast.Attribute) else "")
        target: ast.expr | None = None
        if last in _MAKERS or last in _WRITERS or (last == "open" and _writes(call)):
            owner = call.func.value if isinstance(call.func, ast.Attribute) else None
            is_method = last == "mkdir" and owner is not None and dotted(owner) != "os"
            target = owner if is_method else argument(call, 0, "name", "path", "filename", "database")
        value = values.of(module, target) if target is not None else None
        path = inside(value.text) if value and value.text.strip("./") and "://" not in value.text else None
        if value and path and path not in project.files and not _TEST.search(path):
            is_file = last not in _MAKERS
            if not is_file or posixpath.dirname(path) or last == "open" or _DATABASE.search(path):
                names = value.variables or (_secret_variables(project, module) if _KEY.search(path) else ())
                yield DataPath(path, names, project.place_of(module, call), False, is_file, is_written=True)


def _secret_variables(project: Project, module: Module) -> tuple[str, ...]:
    """Return the variable that a module prefers to a file with a key."""
    names = variables_in(project, module, module.body)
    return tuple(name for name in names if name.endswith("SECRET_KEY"))[:1]


def _writes(call: ast.Call) -> bool:
    mode = text_of(call.args[1] if len(call.args) > 1 else keyword(call, "mode")) or ""
    return mode[:1] in ("w", "a", "x")


def _compose_variables(project: Project) -> frozenset[str]:
    """Return the names of variables that a compose file gives to its services."""
    matches = (_COMPOSE_VARIABLE.match(line) for line, _ in compose_lines(project))
    return frozenset(match[1] for match in matches if match)
