"""Static files that nginx can serve: Django's collected ones and its media, Flask's and Starlette's directories."""

import ast
import posixpath
from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from hookd.model.plan import Finding
from hookd.model.tables.fields import overlaps
from hookd.model.tables.site import Site
from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, keyword, source_of, text_of
from units.finders.code.values import Values, inside
from units.finders.found import Found
from units.finders.web import django
from units.finders.web.service import Service

_FLASK: Final = frozenset(("Flask", "APIFlask", "Quart"))


def find_static(project: Project, service: Service, shared: tuple[str, ...]) -> Found:
    """Find the directories of static files. One that has shared data inside is left to the app."""
    table: dict[str, str] = {}
    sources: dict[str, None] = {}
    values = Values(project)
    parts = _django(project, service, values) if service.settings else _mounted(project, service, values)
    for prefix, inner, source in parts:
        directory = project.place(inner)
        is_code = not any(overlaps(directory, other) for other in shared)
        added = table | {f"{prefix.rstrip('/')}/": directory}
        if is_code and len(added) > len(table) and _is_served(added):
            table, sources = added, {**sources, source: None}
    return Found((Finding("site.static", table, ", ".join(sources)),)) if table else Found()


def _is_served(table: dict[str, str]) -> bool:
    """Return True if a site takes these directories. One value that it refuses would refuse the whole app."""
    try:
        Site(static=table)
    except ValidationError:
        return False
    return True


def _django(project: Project, service: Service, values: Values) -> Iterator[tuple[str, str, str]]:
    modules = django.settings_modules(project, service.settings or "")
    names = (("STATIC_URL", "STATIC_ROOT"), ("MEDIA_URL", "MEDIA_ROOT")) if django.has_static(modules) else ()
    for url_name, root_name in names:
        url, root = django.setting(modules, url_name), django.setting(modules, root_name)
        prefix = _prefix(values, url)
        value = values.of(*root) if root else None
        directory = inside(value.text) if value else None
        if root and prefix and directory:
            yield prefix, directory, project.place_of(*root)


def _prefix(values: Values, found: tuple[Module, ast.expr] | None) -> str | None:
    """Return the prefix of a URL setting. The unknown begin of a text such as `f"{path}/static/"` is left out."""
    if found is None:
        return None
    module, expression = found
    value = values.of(module, expression)
    if value and "://" in value.text and not value.text.startswith("/"):
        return None
    if value:
        return f"/{value.text.removeprefix('/')}"
    last = expression.values[-1] if isinstance(expression, ast.JoinedStr) and expression.values else None
    text = text_of(last)
    return f"/{text.removeprefix('/')}" if text else None


def _mounted(project: Project, service: Service, values: Values) -> Iterator[tuple[str, str, str]]:
    for module in service.modules:
        for call in module.calls:
            name = module.full_name(call.func).rpartition(".")[2]
            if name in _FLASK:
                yield from _flask(project, module, call, values)
            elif (mount := _mount(call)) and (path := text_of(argument(call, 0, "path"))):
                directory = argument(mount, 0, "directory")
                value = values.of(module, directory) if directory is not None else None
                if value and (inner := inside(value.text)) and project.has_files(inner):
                    yield path, inner, project.place_of(module, call)


def _mount(call: ast.Call) -> ast.Call | None:
    """Return `StaticFiles(…)` of `Mount("/static", app=StaticFiles(…))` and `app.mount("/static", StaticFiles(…))`."""
    given = argument(call, 1, "app")
    if isinstance(given, ast.Call) and source_of(given.func).endswith("StaticFiles"):
        return given
    return None


def _flask(project: Project, module: Module, call: ast.Call, values: Values) -> Iterator[tuple[str, str, str]]:
    given = keyword(call, "static_folder")
    value = values.of(module, given) if given is not None else None
    if given is not None and value is None:
        return
    package = posixpath.dirname(module.path)
    text = value.text if value else "static"
    directory = inside(text) if text.startswith("/") else posixpath.normpath(posixpath.join(package, text))
    url = keyword(call, "static_url_path")
    prefix = text_of(url) if url is not None else f"/{posixpath.basename(directory or 'static')}"
    if directory and prefix is not None and project.has_files(directory):
        yield prefix if prefix.startswith("/") else f"/{prefix}", directory, project.place_of(module, call)
