"""Release commands: migrations of Django, Flask-Migrate and Alembic, and what runs in front of the web process."""

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from hookd.model.plan import Finding, Variable
from units.finders.code.project import Project
from units.finders.code.syntax import argument, source_of, text_of
from units.finders.data.written import database_file
from units.finders.found import Found
from units.finders.repository.shell import Command, read_script
from units.finders.repository.starts import procfile_starts, web_starts
from units.finders.web import django
from units.finders.web.entries import entry_in
from units.finders.web.service import Service

Argv = list[str]
_PRESTART: Final = ("prestart.sh", "scripts/prestart.sh", "release.sh", "scripts/release.sh", "bin/release")
_RELEASE_WORDS: Final = re.compile(r"(?i)migrat|upgrade|deploy|init|seed|create|load|setup|sync")
_TABLES: Final = re.compile(r"(?:init|create|setup)[-_]?(?:db|database|tables|all)")
_OLD_FLASK: Final = re.compile(r"(?i)flask\s*(?:==|<=?|~=)\s*(?:[01]\.|2\.[01](?:\.|$))")
_NO_MIGRATIONS: Final = (
    "Flask-Migrate has no migrations/ in the commit: run flask db init and flask db migrate, and push them."
)
_BUILD_WORDS: Final = frozenset("collectstatic compress compilemessages compile assets digest".split())


def find_release(project: Project, service: Service) -> Found:
    """Find the release commands: those that the project names, else the usual ones of its packages."""
    named = list(_named(project)) or list(_before(project, service)) or list(_prestart(project))
    parts = [one for one in named or _usual(project, service) if not _is_without_files(project, one[0])]
    distinct = dict.fromkeys(tuple(argv) for argv, _ in parts)
    if not distinct:
        return _without_migrations(project, service)
    commands, variables = _with_flask_app(project, service, [list(argv) for argv in distinct])
    source = ", ".join(dict.fromkeys(place for _, place in parts))
    return Found((Finding("release.commands", commands, source, proposed=True),), variables)


def _named(project: Project) -> Iterator[tuple[Argv, str]]:
    """Return the commands of the Procfile's `release` line."""
    for start in procfile_starts(project):
        if start.name == "release":
            yield from ((_argv(one), start.source) for one in start.commands if _is_python(one))


def _before(project: Project, service: Service) -> Iterator[tuple[Argv, str]]:
    """Return the commands that stand in front of a web process and prepare a release."""
    starts = ((service.before, service.source), *((one.commands[:-1], one.source) for one in web_starts(project)))
    for commands, source in starts:
        found = [one for one in commands if _is_task(one) and _RELEASE_WORDS.search(" ".join(one.words[1:]))]
        if found:
            yield from ((_argv(one), source) for one in found)
            return


def _prestart(project: Project) -> Iterator[tuple[Argv, str]]:
    """Return the commands of a script that is named for the time before the start."""
    path = project.first(*_PRESTART)
    for command in read_script(project.read(path) or "") if path else ():
        if path and _is_python(command):
            yield _argv(command), project.place(path, command.line)


def _usual(project: Project, service: Service) -> Iterator[tuple[Argv, str]]:
    if service.settings:
        yield (
            ["python", django.manage_path(project), "migrate", "--noinput"],
            project.place(django.manage_path(project)),
        )
    elif "migrations/env.py" in project.files and "flask-migrate" in project.packages:
        yield ["flask", "db", "upgrade"], project.place("migrations/env.py")
    elif path := next((path for path in project.paths if _is_alembic(path)), None):
        options = [] if path == "alembic.ini" else ["-c", path]
        yield ["alembic", *options, "upgrade", "head"], project.place(path)


def _without_migrations(project: Project, service: Service) -> Found:
    """Return what makes the tables where no migration does: a command for an empty database, else a remark."""
    if "flask-migrate" in project.packages:
        return Found(remarks=(_NO_MIGRATIONS,))
    for module, call in ((one, call) for one in service.modules for call in one.calls):
        name = text_of(argument(call, 0, "name")) if source_of(call.func).endswith(".command") else None
        if name and _TABLES.fullmatch(name):
            return _first_tables(project, service, name, project.place_of(module, call))
    return Found()


def _first_tables(project: Project, service: Service, name: str, place: str) -> Found:
    """Return Flask's command that makes the tables, if the database is missing. It may empty one that is there."""
    path = database_file(project, service)
    if path is None:
        return Found(remarks=(f"The command {name} makes the tables ({place}): run it once with hookd run.",))
    [argv], variables = _with_flask_app(project, service, [["flask", name]])
    command = ["sh", "-c", f"test -s {shlex.quote(path)} || exec {shlex.join(argv)}"]
    return Found((Finding("release.commands", [command], place, proposed=True),), variables)


def _is_without_files(project: Project, argv: Argv) -> bool:
    """Return True for a migration of Flask-Migrate whose directory is not in the commit."""
    default = argv[0] == "flask" and argv[-2:] == ["db", "upgrade"]
    return default and "migrations/env.py" not in project.files


def _is_alembic(path: str) -> bool:
    return posixpath.basename(path) == "alembic.ini" and path.count("/") < 2


def _is_task(command: Command) -> bool:
    """Return True for a command of the framework, which is no build."""
    known = command.program in ("flask", "alembic") or "manage.py" in " ".join(command.words[:2])
    return known and _BUILD_WORDS.isdisjoint(command.words)


def _is_python(command: Command) -> bool:
    """Return True for a command of Python or of a framework without a variable left."""
    is_ours = command.is_python or command.program in ("flask", "alembic", "manage.py")
    return is_ours and not any("$" in word for word in command.words)


def _argv(command: Command) -> Argv:
    """Return the words to run: with the environment's Python, and without questions."""
    words = command.words if command.program == "manage.py" else (command.program, *command.words[1:])
    is_django = any(word.endswith("manage.py") for word in words)
    if is_django and "migrate" in words and {"--noinput", "--no-input"}.isdisjoint(words):
        words = (*words, "--noinput")
    return list(replace(command, words=words).argv)


def _with_flask_app(
    project: Project, service: Service, commands: list[Argv]
) -> tuple[list[Argv], tuple[Variable, ...]]:
    """Name the app for Flask's own commands, which find it by themselves in app.py, wsgi.py and .flaskenv alone."""
    entry = service.entry
    if entry is None or entry.kind != "flask" or not any(argv[0] == "flask" for argv in commands):
        return commands, ()
    name = entry.target.partition(":")[2]
    module = entry.module.name
    usual = (project.module_at(path) for path in ("wsgi.py", "app.py") if path in project.files)
    has_dotenv = "python-dotenv" in project.packages and "FLASK_APP=" in (project.read(".flaskenv") or "")
    if has_dotenv or any(one and entry_in(project, one) for one in usual):
        return commands, ()
    if _OLD_FLASK.match(project.packages.get("flask", "")):
        path = entry.module.path
        return commands, (Variable("FLASK_APP", entry.source, needed=True, example=path),)
    target = entry.target if name not in ("app", "application", "create_app()") else module
    return [["flask", "--app", target, *argv[1:]] if argv[0] == "flask" else argv for argv in commands], ()
