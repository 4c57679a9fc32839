"""Build commands: assets of npm and its kin, Django's static files, Flask-Assets, compiled translations."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from hookd.model.nested import table
from hookd.model.plan import Finding, Variable
from units.finders.code.project import Project
from units.finders.commands.npm import npm_builds
from units.finders.found import Found
from units.finders.repository.containers import dockerfiles
from units.finders.repository.shell import Command, read_script
from units.finders.web import django
from units.finders.web.service import Service

Argv = list[str]
_MANAGE: Final = ("collectstatic", "compress", "compilemessages")
_PYTHON: Final = re.compile(r"(?:^|[\s&;])(?:flask (?!run)|python|manage\.py)")
_URL: Final = re.compile(r"(?i)url|uri|dsn")


def find_build(project: Project, service: Service, variables: tuple[Variable, ...]) -> Found:
    """Find the build commands, and the values that the app's code needs while it is built."""
    parts = [*npm_builds(project), *_django(project, service), *_flask(project), *_translations(project)]
    commands = [command for argvs, _ in parts for command in argvs]
    if not commands:
        return Found()
    sources = ", ".join(dict.fromkeys(source for _, source in parts))
    found = [Finding("build.commands", commands, sources, proposed=True)]
    runs_app = any("manage.py" in " ".join(one) or one[0] == "flask" for one in commands) or _script_runs_app(project)
    if runs_app and (values := _flask_app(service) | _build_values(project, variables)):
        found.append(Finding("build.environment", values, sources, proposed=True))
    return Found(tuple(found))


def _flask_app(service: Service) -> dict[str, str]:
    """Return the variable that names the app for Flask's own commands."""
    entry = service.entry
    return {"FLASK_APP": entry.target} if entry is not None and entry.kind == "flask" else {}


def _script_runs_app(project: Project) -> bool:
    """Return True if a script of package.json starts the app's code."""
    scripts = table(project.json("package.json"), "scripts")
    return any(isinstance(one, str) and _PYTHON.search(one) for one in scripts.values())


def _build_values(project: Project, variables: tuple[Variable, ...]) -> dict[str, str]:
    """Return values for the build: those of a Dockerfile's own build, else examples. They are no secrets."""
    needed = (one for one in variables if one.needed and one.name != "PYTHONPATH")
    values = {one.name: value for one in needed if (value := _build_value(one))}
    for command in _docker_builds(project):
        if any(word in _MANAGE for word in command.words):
            values |= {name: value for name, value in command.variables.items() if "$" not in value}
    return values


def _build_value(variable: Variable) -> str | None:
    """Return an example without the places of a server, or None for data that has a default in the code."""
    example = re.sub(r"\{domain\}(,localhost)?", "localhost", variable.example or "")
    if example and "{shared}" not in example:
        return example
    if _URL.search(variable.name):
        return "sqlite://"
    return None if example else "build"


def _docker_builds(project: Project) -> Iterator[Command]:
    for dockerfile in dockerfiles(project):
        for line in dockerfile.builds:
            yield from read_script(line)


def _django(project: Project, service: Service) -> Iterator[tuple[list[Argv], str]]:
    modules = django.settings_modules(project, service.settings) if service.settings else ()
    manage = ["python", django.manage_path(project)]
    if django.has_static(modules) and (found := django.setting(modules, "STATIC_ROOT")):
        yield [[*manage, "collectstatic", "--noinput"]], project.place_of(*found)
    if (found := django.setting(modules, "COMPRESS_OFFLINE")) and getattr(found[1], "value", None) is True:
        yield [[*manage, "compress"]], project.place_of(*found)
    if modules and (catalogue := _uncompiled(project, "django")):
        yield [[*manage, "compilemessages"]], project.place(catalogue)


def _flask(project: Project) -> Iterator[tuple[list[Argv], str]]:
    if "flask-assets" in project.packages:
        yield [["flask", "assets", "build"]], "Flask-Assets in the dependencies"


def _translations(project: Project) -> Iterator[tuple[list[Argv], str]]:
    """Return the compilation of catalogues for Babel whose compiled form is not in the commit."""
    if {"flask-babel", "babel"}.isdisjoint(project.packages):
        return
    if catalogue := _uncompiled(project):
        root, _, name = catalogue.partition("/LC_MESSAGES/")
        domain = [] if name == "messages.po" else ["-D", name.removesuffix(".po")]
        yield [["pybabel", "compile", "-d", posixpath.dirname(root), *domain]], project.place(catalogue)


def _uncompiled(project: Project, name: str | None = None) -> str | None:
    """Return the first catalogue of translations without its compiled form."""
    ending = f"/{name}.po" if name else ".po"
    catalogues = (path for path in project.paths if path.endswith(ending) and "/LC_MESSAGES/" in path)
    return next((path for path in catalogues if f"{path[:-3]}.mo" not in project.files), None)
