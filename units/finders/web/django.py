"""Django's settings module and its values."""

import ast
import posixpath
import re
from typing import Final

from units.finders.code.project import Project
from units.finders.code.syntax import Module, text_of
from units.finders.repository.examples import values_of

VARIABLE: Final = "DJANGO_SETTINGS_MODULE"
_DEVELOPMENT: Final = re.compile(r"(?i)(?:^|[._])(?:dev|develop|development|local|debug)$")
_PRODUCTION: Final = ("production", "prod", "live", "deploy")


def default_settings(project: Project) -> str | None:
    """Return the settings module that manage.py names, or None without Django."""
    for root in project.roots:
        module = project.module_at(f"{root}manage.py")
        for call in module.calls if module else ():
            if len(call.args) > 1 and text_of(call.args[0]) == VARIABLE and (name := text_of(call.args[1])):
                return name
    return None


def production_settings(project: Project) -> tuple[str, str] | None:
    """Return the settings module to serve with and its place if it differs from the default, else None."""
    default = default_settings(project)
    if default is None:
        return None
    for name, source in (*values_of(project, VARIABLE), *_siblings(project, default)):
        if name != default and project.path_of(name) and not _DEVELOPMENT.search(name):
            return name, source
    return None


def _siblings(project: Project, default: str) -> list[tuple[str, str]]:
    """Return the settings for production beside those for development."""
    if not _DEVELOPMENT.search(default):
        return []
    package = default.rpartition(".")[0]
    names = [f"{package}.{name}" if package else name for name in _PRODUCTION]
    return [(name, project.place(path)) for name in names if (path := project.path_of(name))]


def settings_modules(project: Project, name: str) -> tuple[Module, ...]:
    """Return the settings module and the modules that its star imports bring, the nearest first."""
    found: dict[str, Module] = {}
    waiting = [name]
    for one in waiting:
        module = project.module(one)
        if module is None or one in found or len(found) > 10:
            continue
        found[one] = module
        waiting += [
            module.absolute(node)
            for node in module.all_of(ast.ImportFrom)
            if any(alias.name == "*" for alias in node.names)
        ]
    return tuple(found.values())


def setting(modules: tuple[Module, ...], name: str) -> tuple[Module, ast.expr] | None:
    """Return the value of a setting and its module, or None."""
    return next(((module, value) for module in modules if (value := module.values.get(name)) is not None), None)


def manage_path(project: Project) -> str:
    """Return the path of manage.py."""
    return next(
        (path for root in project.roots if (path := posixpath.join(root, "manage.py")) in project.files), "manage.py"
    )


def has_static(modules: tuple[Module, ...]) -> bool:
    """Return True if Django's settings install the app for static files."""
    wanted = ("django.contrib.staticfiles", "django.contrib.staticfiles.apps.StaticFilesConfig")
    return any(text_of(node) in wanted for one in modules for node in one.all_of(ast.Constant))
