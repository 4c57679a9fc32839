"""The web process of a project: its kind, its entry or own command, and the modules that serve."""

import re
from dataclasses import dataclass, field, replace
from typing import Final

from hookd.model.nested import table
from hookd.model.plan import Finding, Variable
from units.finders.code.project import Project
from units.finders.code.syntax import Module, text_of
from units.finders.found import Found
from units.finders.repository.examples import values_of
from units.finders.repository.shell import Command
from units.finders.repository.starts import web_starts
from units.finders.web import django
from units.finders.web.entries import Entry, entry_named, find_entry
from units.finders.web.own_command import own_command
from units.finders.web.servers import Serving, gunicorn_values, number, read_serving, worker_class

_CONFIG: Final = "gunicorn.conf.py"
_OLDEST_GOOD: Final = (24, 1)
_PIN: Final = re.compile(r"(?i)^gunicorn\s*(?:\[[^\]]*\])?\s*[=~]=\s*(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class Service:
    """The web process. `modules` are those that it imports, the nearest first."""

    kind: str
    entry: Entry | None = None
    command: tuple[str, ...] = ()
    before: tuple[Command, ...] = ()
    source: str = ""
    settings: str | None = None
    modules: tuple[Module, ...] = ()
    found: Found = field(default_factory=Found)


def find_service(project: Project) -> Service:
    """Find the web process. Its kind is `unknown` if there is none."""
    for start in web_starts(project):
        serving = read_serving(project, start)
        if serving and (serving.entry or serving.command):
            return _service(project, serving)
    entry = _flask_app(project) or _django_entry(project) or find_entry(project)
    if entry:
        return _service(project, Serving(entry.source, entry))
    return Service("unknown")


def _service(project: Project, serving: Serving) -> Service:
    if serving.entry is None:
        words, own = own_command(project, serving)
        return Service("command", command=words, before=serving.before, source=serving.source, found=own)
    entry = serving.entry
    production = django.production_settings(project)
    settings = (production[0] if production else None) or django.default_settings(project)
    kind = "django" if settings and entry.kind in ("django", "asgi", "wsgi") else entry.kind
    found = _of_entry(project, serving, entry)
    return Service(kind, entry, before=serving.before, source=serving.source, settings=settings, found=found)


def with_modules(project: Project, service: Service) -> Service:
    """Return the service with the modules that it imports."""
    names = [service.entry.module.name] if service.entry else []
    names += [project.name_of(word) for word in service.command if word.endswith(".py") and word in project.files]
    return replace(service, modules=project.reachable((*names, *([service.settings] if service.settings else []))))


def _of_entry(project: Project, serving: Serving, entry: Entry) -> Found:
    if entry.needed:
        call = entry.target.replace("()", "('production')")
        why = f"{entry.target} needs {', '.join(entry.needed)}: give it, as in service.entry={call} ({entry.source})."
        return Found(remarks=(why,))
    settings = _gunicorn_settings(project, serving, entry)
    findings = (Finding("service.entry", entry.target, entry.source, entry.proposed), *settings.values())
    remarks = tuple(_server_remarks(project, serving, settings.get("worker_class")))
    return Found(findings, _python_path(project, entry), remarks)


def _gunicorn_settings(project: Project, serving: Serving, entry: Entry) -> dict[str, Finding]:
    """Return workers, threads and the worker class, from the command line or from gunicorn's file."""
    path = serving.config or _CONFIG
    values = gunicorn_values(project, path)
    found = {}
    for name, read in (("workers", number), ("threads", number), ("worker_class", worker_class)):
        if name == "worker_class" and entry.kind == "asgi":
            found[name] = Finding("service.worker_class", "asgi", entry.source)
        elif value := getattr(serving, name):
            found[name] = Finding(f"service.{name}", value, serving.source)
        elif value := read(values.get(name)):
            found[name] = Finding(f"service.{name}", value, project.place(path))
    return found


def _python_path(project: Project, entry: Entry) -> tuple[Variable, ...]:
    """Return PYTHONPATH for code that lies in a directory which is no package and is not installed."""
    root = project.root_of(entry.module.path)
    if root == "src" and _is_installed(project):
        return ()
    directory = root or entry.directory
    beside = (name.replace(".", "/") for name in entry.module.imported_modules if not project.path_of(name))
    is_script = any(f"{directory}/{name}.py" in project.files for name in beside)
    if not root and not (directory and is_script):
        return ()
    source = project.place(entry.module.path)
    return (Variable("PYTHONPATH", source, needed=True, example=directory),)


def _is_installed(project: Project) -> bool:
    """Return True if the project is a package that is installed into its environment."""
    parsed = project.toml("pyproject.toml")
    wants = table(parsed, "tool", "uv").get("package")
    return wants is not False and bool(wants or "build-system" in parsed or project.first("setup.py", "setup.cfg"))


def _server_remarks(project: Project, serving: Serving, kind: Finding | None) -> list[str]:
    remarks = []
    pin = _PIN.match(project.packages.get("gunicorn", ""))
    if pin and (int(pin[1]), int(pin[2] or 0)) < _OLDEST_GOOD:
        version = pin[0].partition("==")[2].strip()
        remarks.append(f"The project's gunicorn {version} is older than 24.1: hookd uses its own.")
    name = kind.value if kind else None
    if kind and name in ("gevent", "eventlet") and name not in project.packages:
        way_out = "add it, or --set service.worker_class=gthread"
        remarks.append(f"{kind.source} asks for {name}, which is no dependency: {way_out}.")
    if serving.server not in ("gunicorn", "python"):
        remarks.append(f"{serving.source} starts {serving.server}: hookd serves the same app with gunicorn.")
    return remarks


def _flask_app(project: Project) -> Entry | None:
    """Return the entry that FLASK_APP names."""
    entries = (entry_named(project, value, place, "app") for value, place in values_of(project, "FLASK_APP"))
    return next(filter(None, entries), None)


def _django_entry(project: Project) -> Entry | None:
    """Return the entry of WSGI_APPLICATION, or of ASGI_APPLICATION where a package needs it."""
    name = django.default_settings(project)
    modules = django.settings_modules(project, name) if name else ()
    wants_asgi = not {"channels", "daphne"}.isdisjoint(project.packages)
    for key in ("ASGI_APPLICATION", "WSGI_APPLICATION") if wants_asgi else ("WSGI_APPLICATION", "ASGI_APPLICATION"):
        found = django.setting(modules, key)
        text = text_of(found[1]) if found else None
        if found and text:
            module, _, attribute = text.rpartition(".")
            if entry := entry_named(project, f"{module}:{attribute}", project.place_of(*found)):
                return entry
    return None
