"""Processes beside the web process: the Procfile's other lines, uWSGI's daemons, and the workers of task queues."""

import ast
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from hookd.model.ids import slug
from hookd.model.plan import Finding
from hookd.model.tables.processes import PROCESS_NAME
from units.finders.code.project import Project, is_serving
from units.finders.code.syntax import Module, argument, text_of
from units.finders.found import Found
from units.finders.repository.shell import read_script
from units.finders.repository.starts import procfile_starts
from units.finders.web import django
from units.finders.web.service import Service

_NAME: Final = re.compile(PROCESS_NAME)
_SCHEDULE: Final = re.compile(r"beat_schedule|BEAT_SCHEDULE|add_periodic_task|CELERYBEAT_SCHEDULE")
_MAX_READ: Final = 200
_HUEY: Final = frozenset(("RedisHuey", "SqliteHuey", "PriorityRedisHuey", "RedisExpireHuey", "Huey", "MemoryHuey"))


def find_processes(project: Project, service: Service) -> Found:
    """Find the processes: those that the project names, else one for each task queue among its packages."""
    findings: dict[str, Finding] = {}
    remarks = []
    named = [*_procfile(project), *_daemons(project, service)]
    for name, command, source in named or _queues(project, service):
        if any("$" in word for word in command):
            remarks.append(f"{source} has a variable: write its value, as in processes.{name}.command.")
            continue
        findings.setdefault(name, Finding(f"processes.{name}", {"command": list(command)}, source, proposed=True))
    found = [*findings.values()]
    if any("beat" in one.value["command"] and "--schedule" in one.value["command"] for one in found):
        directory = project.place("celerybeat")
        found.append(Finding("shared.directories", [directory], found[-1].source, proposed=True))
    if any(one.value["command"][:1] == ["rq"] for one in findings.values()):
        remarks.append("rq worker reads its Redis from RQ_REDIS_URL: set it beside the app's own variable.")
    return Found(tuple(found), remarks=tuple(remarks))


def _process_name(text: str) -> str | None:
    """Return a name that hookd takes for a process, or None."""
    name = slug(text)
    return name if _NAME.fullmatch(name) else None


def _procfile(project: Project) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for start in procfile_starts(project):
        name = _process_name(start.name)
        if name and start.name not in ("web", "release") and start.commands:
            yield name, start.commands[-1].argv, start.source


def _daemons(project: Project, service: Service) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Return the daemons that uWSGI starts beside the app (`attach-daemon`)."""
    path = service.source.partition(",")[0]
    text = project.tree.read(path) if path.endswith(".ini") else None
    for number, line in enumerate((text or "").splitlines(), 1):
        key, _, value = line.partition("=")
        if key.strip() not in ("attach-daemon", "attach-daemon2", "smart-attach-daemon") or "%(" in value:
            continue
        for command in read_script(value.strip()):
            words = command.argv
            is_python = words[0].startswith("python")
            word = next((one for one in words[1:] if _NAME.fullmatch(one)), words[0]) if is_python else words[0]
            if name := _process_name(word):
                yield name, words, f"{path}, line {number}"


def _queues(project: Project, service: Service) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Return a worker for each task queue whose package is a dependency."""
    packages, manage = project.packages, ("python", django.manage_path(project))
    if "celery" in packages:
        yield from _celery(project, service)
    if "django-rq" in packages:
        yield "rq", (*manage, "rqworker", "default"), "django-rq in the dependencies"
    elif "rq" in packages:
        names = _queue_names(project, service)
        yield "rq", ("rq", "worker", *(names or ["default"])), "rq in the dependencies"
    if "huey" in packages:
        yield from _huey(project)
    if "dramatiq" in packages and (names := _actors(project)):
        yield "dramatiq", ("dramatiq", *names), "dramatiq in the dependencies"


def _all_modules(project: Project, service: Service) -> tuple[Module, ...]:
    """Return the modules that serve, and those of the first levels, which a worker may begin with."""
    near = [module for path in project.top_modules() if (module := project.module_at(path))]
    return tuple({one.path: one for one in (*service.modules, *near)}.values())


def _celery(project: Project, service: Service) -> Iterator[tuple[str, tuple[str, ...], str]]:
    modules = _all_modules(project, service)
    found = next(((one, name) for one in modules for name in one.values if _is_celery(one, name)), None)
    if found is None:
        return
    module, name = found
    target = module.name if name in ("app", "celery") else f"{module.name}:{name}"
    source = project.place_of(module, module.values[name])
    yield "celery", ("celery", "-A", target, "worker"), source
    if any(_SCHEDULE.search(project.read(one.path) or "") for one in modules):
        yield "beat", ("celery", "-A", target, "beat", "--schedule", "celerybeat/schedule"), source


def _is_celery(module: Module, name: str) -> bool:
    """Return True for `Celery(…)`, and for the app that Flask's recipe keeps in `extensions["celery"]`."""
    value = module.values[name]
    called = module.full_name(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    key = text_of(value.slice) if isinstance(value, ast.Subscript) else None
    return key == "celery" or called in ("Celery", "make_celery", "create_celery", "celery_init_app")


def _queue_names(project: Project, service: Service) -> list[str]:
    names = [
        name
        for module in _all_modules(project, service)
        for call in module.calls
        if module.full_name(call.func).endswith(("rq.Queue", "rq.queue.Queue"))
        and (name := text_of(argument(call, 0, "name")))
    ]
    return list(dict.fromkeys(names))


def _huey(project: Project) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for path in project.top_modules():
        module = project.module_at(path)
        for name, value in module.values.items() if module else ():
            called = module.full_name(value.func) if module and isinstance(value, ast.Call) else ""
            if module and called.rpartition(".")[2] in _HUEY:
                yield "huey", ("huey_consumer.py", f"{module.name}.{name}"), project.place_of(module, value)
                return


def _actors(project: Project) -> list[str]:
    """Return the modules with actors of Dramatiq."""
    near = (path for path in project.paths if path.endswith(".py") and path.count("/") < 3 and is_serving(path))
    read = ((path, project.read(path) or "") for path in islice(near, _MAX_READ))
    return [project.name_of(path) for path, text in read if "dramatiq.actor" in text]
