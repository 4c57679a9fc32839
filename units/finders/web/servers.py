"""Start commands of web servers, translated to an entry for gunicorn, or kept as an own command."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from packaging.utils import canonicalize_name

from hookd.model.nested import table
from units.finders.code.project import Project
from units.finders.repository.shell import Command, option
from units.finders.repository.starts import Start, file_named
from units.finders.web.entries import TARGET, Entry, entry_in, entry_named, find_entry

_CLASSES: Final = {
    "sync": "sync", "gevent": "gevent", "eventlet": "eventlet",
    "uvicorn.workers.UvicornWorker": "asgi", "uvicorn.workers.UvicornH11Worker": "asgi",
    "uvicorn_worker.UvicornWorker": "asgi", "uvicorn_worker.UvicornH11Worker": "asgi", "asgi": "asgi",
    "geventwebsocket.gunicorn.workers.GeventWebSocketWorker": "gevent",
}  # fmt: skip
_ASGI_SERVERS: Final = frozenset(("uvicorn", "hypercorn", "daphne"))
# Also with other letters in front, as in `python -um app`.
_RUN_MODULE: Final = re.compile(r"-[A-Za-z]*m")
_NUMBER: Final = re.compile(r"[1-9]\d?")
_NO_SERVERS: Final = frozenset(("alembic", "celery", "rq", "flask", "supervisord"))


@dataclass(frozen=True)
class Serving:
    """A web process: its entry, or its own command. `before` are the commands in front of it."""

    source: str
    entry: Entry | None = None
    command: tuple[str, ...] = ()
    worker_class: str | None = None
    workers: int | None = None
    threads: int | None = None
    config: str | None = None
    server: str = "gunicorn"
    before: tuple[Command, ...] = ()


def read_serving(project: Project, start: Start) -> Serving | None:
    """Return the web process that a start's commands end in, or None if none of them serves."""
    for place in reversed(range(len(start.commands))):
        command = start.commands[place]
        read = _READERS.get(command.program) or (_read_python if command.is_python else None)
        found = read(project, command, start.source) if read else _read_other(project, command, start.source)
        if found:
            return replace(found, before=start.commands[:place])
    return None


def worker_class(name: str | None) -> str | None:
    """Return hookd's worker class for gunicorn's, or None for the default one and those that it lacks."""
    return _CLASSES.get(name or "")


def number(text: str | None) -> int | None:
    """Return a number of workers or threads, or None."""
    return int(text) if text and _NUMBER.fullmatch(text) else None


def _target(project: Project, words: tuple[str, ...], source: str) -> Entry | None:
    """Return the entry among the words: `module:app`, else a module of the project at the end."""
    for word in words[1:]:
        if ":" in word and TARGET.fullmatch(word) and (entry := entry_named(project, word, source)):
            return entry
    return entry_named(project, words[-1], source) if len(words) > 1 else None


def _read_server(project: Project, command: Command, source: str) -> Serving:
    """Read the command of a server that takes `module:app` and the usual options."""
    words = command.words
    entry = _target(project, words, source)
    if entry and not entry.is_factory and {"--factory", "--call"} & {*words}:
        entry = replace(entry, target=f"{entry.target}()", is_factory=True)
    return Serving(
        source,
        entry,
        worker_class="asgi" if command.program in _ASGI_SERVERS else None,
        workers=number(option(words, "-w", "--workers")),
        threads=number(option(words, "--threads")),
        server=command.program,
    )


def _read_gunicorn(project: Project, command: Command, source: str) -> Serving:
    serving = _read_server(project, command, source)
    config = option(command.words, "-c", "--config")
    kind = worker_class(option(command.words, "-k", "--worker-class"))
    return replace(serving, worker_class=kind, config=config)


def gunicorn_values(project: Project, path: str) -> dict[str, str]:
    """Return the literal values of a configuration file of gunicorn."""
    path = path.removeprefix("file:").removeprefix("./")
    module = project.module_at(path) if path in project.files else None
    values = module.values if module else {}
    literal = {name: getattr(value, "value", None) for name, value in values.items()}
    return {name: str(value) for name, value in literal.items() if isinstance(value, str | int)}


def _read_uwsgi(project: Project, command: Command, source: str) -> Serving | None:
    given = next((word for word in command.words[1:] if word.endswith(".ini")), None) or option(command.words, "--ini")
    path = file_named(project, given) if given else None
    values = _uwsgi_values(project, path) if path else {}
    place = project.place(path) if path else source
    for name, flags in (("module", ("-w", "--module")), ("wsgi-file", ("--wsgi-file",)), ("callable", ("--callable",))):
        if value := option(command.words, *flags):
            values[name] = value
    return Serving(
        place,
        _uwsgi_entry(project, values, place),
        workers=number(values.get("processes") or values.get("workers")),
        threads=number(values.get("threads")),
        server="uwsgi",
    )


def _uwsgi_entry(project: Project, values: Mapping[str, str], source: str) -> Entry | None:
    target = values.get("module") or values.get("wsgi")
    if not target and (path := file_named(project, values.get("wsgi-file", ""))):
        target = project.name_of(path)
    if not target:
        return None
    if ":" not in target and (name := values.get("callable")):
        target = f"{target}:{name}"
    return entry_named(project, target, source)


def _uwsgi_values(project: Project, path: str) -> dict[str, str]:
    """Return the last value of each key of uWSGI's configuration file."""
    ini = project.ini(path)
    return {key: value or "" for key, value in ini.items("uwsgi")} if ini.has_section("uwsgi") else {}


def _read_framework(project: Project, command: Command, source: str) -> Serving | None:
    """Read the framework's own command, such as `flask run` or `fastapi run`, whose app is looked for."""
    if command.words[1:2] and command.words[1] != "run" and not option(command.words, "--app", "-A"):
        return None
    files = (word for word in command.words[2:] if word.endswith(".py"))
    named = option(command.words, "--app", "-A") or next(files, None)
    entry = entry_named(project, named, source) if named else None
    workers = number(option(command.words, "--workers"))
    return Serving(source, entry or find_entry(project), workers=workers, server=command.program)


def _read_python(project: Project, command: Command, source: str) -> Serving | None:
    """Read `python FILE` and `python -m MODULE`: an app in the module, or an own command."""
    name, rest = _module_of(project, command.words)
    module = project.module(name)
    if name.endswith("manage"):
        return Serving(source, find_entry(project), server="runserver") if rest[:1] == ("runserver",) else None
    if module is None:
        return None
    entry = entry_in(project, module)
    if entry and not entry.is_factory:
        return Serving(source, replace(entry, source=source), server="python")
    return Serving(source, command=command.words, server="python")


def _module_of(project: Project, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the module that a command of Python runs, and the words behind it."""
    for place, word in enumerate(words[1:], 1):
        if _RUN_MODULE.fullmatch(word) and words[place + 1 :]:
            return words[place + 1], words[place + 2 :]
        if not word.startswith("-"):
            path = file_named(project, word)
            return project.name_of(path) if path and path.endswith(".py") else "", words[place + 1 :]
    return "", ()


def _read_other(project: Project, command: Command, source: str) -> Serving | None:
    """Return an own command if its program comes from the project or from one of its packages."""
    if command.program.endswith(".py") and (path := file_named(project, command.words[0])):
        return _read_python(project, replace(command, words=("python", path, *command.words[1:])), source)
    parsed = project.toml("pyproject.toml")
    names = {**table(parsed, "project", "scripts"), **table(parsed, "tool", "poetry", "scripts"), **project.packages}
    if command.program in _NO_SERVERS or {command.program, canonicalize_name(command.program)}.isdisjoint(names):
        return None
    return Serving(source, command=command.words, server=command.program)


_READERS: Final[dict[str, Callable[[Project, Command, str], Serving | None]]] = {
    **dict.fromkeys(("uvicorn", "hypercorn", "daphne", "granian", "waitress-serve", "sanic"), _read_server),
    **dict.fromkeys(("flask", "fastapi", "quart", "litestar"), _read_framework),
    "gunicorn": _read_gunicorn, "uwsgi": _read_uwsgi,
}  # fmt: skip
