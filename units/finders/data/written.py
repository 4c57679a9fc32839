"""Data that an app writes below its own directory: SQLite files, uploads, logs, keys. A release would lose it."""

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from hookd.model.fields import RESERVED_NAMES
from hookd.model.plan import Finding, Variable
from units.finders.code.environment import variables_in
from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, assignments, dotted, keyword, text_of
from units.finders.code.values import Value, Values, inside
from units.finders.found import Found
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
_SUFFIX: Final = re.compile(r"_(?:dir|directory|path|folder|root|volume)$")
_CODE: Final = frozenset(("static", "templates", "translations", "locale", "node_modules", "__pycache__"))
_COMPOSE_VARIABLE: Final = re.compile(r"\s*-?\s*([A-Z][A-Z0-9_]*)[=:]")


@dataclass(frozen=True)
class _Datum:
    """A path that the app writes, relative to its directory."""

    path: str
    variables: tuple[str, ...]
    source: str
    is_url: bool = False
    is_file: bool = False
    is_written: bool = False


def find_data(project: Project, service: Service) -> Found:
    """Find the directories to share, and the variables that move data out of the code."""
    shared: dict[str, str] = {}
    variables: dict[str, Variable] = {}
    remarks: dict[str, None] = {}
    for one in _distinct(_data(project, service)):
        directory = posixpath.dirname(one.path) if one.is_file else one.path
        if variables.keys() & set(one.variables):
            continue
        if directory and _may_be_shared(project, directory):
            shared.setdefault(directory, one.source)
        elif one.variables and (one.is_file or one.is_written):
            moved, variable = _moved(one)
            shared |= {moved: one.source} if moved and moved not in shared else {}
            variables.setdefault(variable.name, variable)
        elif _matters(project, one):
            remarks[_remark(one)] = None
    directories = outermost(shared)
    sources = ", ".join(dict.fromkeys(shared[one] for one in directories))
    findings = (Finding("shared.directories", directories, sources, proposed=True),) if directories else ()
    return Found(findings, tuple(variables.values()), tuple(remarks))


def _distinct(data: Iterable[_Datum]) -> Iterable[_Datum]:
    """Return one value for each path, with the first variables, and written if one of them is."""
    found: dict[str, _Datum] = {}
    for one in data:
        before = found.get(one.path, one)
        names = before.variables or one.variables
        found[one.path] = replace(before, variables=names, is_written=before.is_written or one.is_written)
    return found.values()


def database_file(project: Project, service: Service) -> str | None:
    """Return the SQLite file in a directory of its own, which a release links to, or None."""
    paths = (one.path for one in _data(project, service) if _DATABASE.search(one.path) and not one.variables)
    return next((path for path in paths if _may_be_shared(project, posixpath.dirname(path) or "venv")), None)


def _may_be_shared(project: Project, directory: str) -> bool:
    """Return True for a directory that has no file of the commit, so that a link hides nothing."""
    return directory.split("/", maxsplit=1)[0] not in RESERVED_NAMES and not project.has_files(directory)


def _moved(one: _Datum) -> tuple[str | None, Variable]:
    """Return a directory outside of the code, and the variable that moves the data there."""
    name = one.variables[0]
    if not one.is_file:
        directory = _SUFFIX.sub("", name.lower()).replace("_", "-") or "data"
        return directory, Variable(name, one.source, needed=True, example=f"{{shared}}/{directory}")
    if name.endswith("SECRET_KEY"):
        return None, Variable(name, one.source, needed=True)
    path = f"{{shared}}/data/{posixpath.basename(one.path)}"
    return "data", Variable(name, one.source, needed=True, example=f"sqlite:///{path}" if one.is_url else path)


def _matters(project: Project, one: _Datum) -> bool:
    """Return True for data that a release would lose, and no part of the code."""
    if one.path in project.files or posixpath.basename(one.path) in _CODE:
        return False
    return one.is_file or (one.is_written and project.has_files(one.path))


def _remark(one: _Datum) -> str:
    if one.is_file:
        return (
            f"{one.path} lies beside the code and is lost with each release ({one.source}): read its path from a "
            "variable, or move it into a directory of its own and name that in shared.directories."
        )
    return (
        f"{one.path} has files of the commit and is written by the app ({one.source}): move what is written to another "
        "directory, and name that in shared.directories."
    )


def outermost(directories: Iterable[str]) -> list[str]:
    """Return the directories without those inside of others, which a link may not contain."""
    listed = sorted(set(directories))
    return [one for one in listed if not any(one.startswith(f"{other}/") for other in listed)]


def _data(project: Project, service: Service) -> Iterator[_Datum]:
    values = Values(project)
    known = _compose_variables(project)
    for module in service.modules:
        for name, expression in _expressions(values, module):
            value = values.of(module, expression)
            one = _datum(project, module, name, value, known) if value else None
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


def _datum(project: Project, module: Module, name: str, value: Value, known: frozenset[str]) -> _Datum | None:
    text, setting = value.text, name.rpartition(".")[2].removeprefix("config:")
    match = _URL.fullmatch(text.partition("?")[0])
    if match is None and ("://" in text or text.startswith("sqlite") or not text.strip("./")):
        return None
    path = inside(_relative_to(project, module, match[1]) if match else text)
    if path is None or ":memory:" in text or _TEST.search(posixpath.basename(path)):
        return None
    is_file = match is not None or _is_database_name(setting) or bool(_DATABASE.search(path))
    if match is None and "/" not in text and not is_file and not _DIRECTORY.search(setting):
        return None
    variables = value.variables or ((setting,) if setting in known else ())
    if match is None and not _is_database_name(setting) and path in project.files:
        return None
    return _Datum(path, variables, project.place(module.path), match is not None, is_file)


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


def _written(project: Project, values: Values, module: Module) -> Iterator[_Datum]:
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
                yield _Datum(path, names, project.place_of(module, call), False, is_file, is_written=True)


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
