"""The framework behind a name of a module: Flask, Django, WSGI or ASGI, read from the syntax trees."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

from units.finders.code.project import Project
from units.finders.code.syntax import Function, Module, dotted

Kind = Literal["django", "flask", "asgi", "wsgi"]
_MAX_DEPTH: Final = 6

# By the last part of the constructor's name.
_BY_NAME: Final[dict[str, Kind]] = {
    "Flask": "flask", "APIFlask": "flask", "OpenAPI": "flask", "Dash": "flask", "FlaskApp": "flask",
    "get_wsgi_application": "django", "FastAPI": "asgi", "Starlette": "asgi", "Quart": "asgi", "Litestar": "asgi",
    "Sanic": "asgi", "get_asgi_application": "asgi", "ProtocolTypeRouter": "asgi", "AsyncApp": "asgi",
    "ASGIApp": "asgi", "Bottle": "wsgi", "default_app": "wsgi", "make_wsgi_app": "wsgi", "WSGIApp": "wsgi",
}  # fmt: skip
_BY_FULL_NAME: Final[dict[str, Kind]] = {
    "falcon.App": "wsgi", "falcon.API": "wsgi", "falcon.asgi.App": "asgi", "blacksheep.Application": "asgi",
    "blacksheep.server.Application": "asgi", "connexion.App": "flask", "cherrypy.tree.mount": "wsgi",
}  # fmt: skip
_INNER: Final = frozenset(("server", "app", "wsgi_app", "asgi_app"))
_WSGI_ARGUMENTS: Final = ("environ", "start_response")
_ASGI_ARGUMENTS: Final = ("scope", "receive", "send")


@dataclass(frozen=True)
class Factory:
    """A function that makes an app, and its arguments without a default."""

    kind: Kind
    needed: tuple[str, ...]


def kind_of(project: Project, module: Module, name: str, depth: int = 0) -> Kind | None:
    """Return the kind of the app that a name of a module is bound to, or None if it is no app."""
    if depth > _MAX_DEPTH:
        return None
    if value := module.values.get(name):
        return _kind_of_value(project, module, value, depth + 1)
    if function := module.functions.get(name):
        return _interface(function)
    if imported := module.imports.get(name):
        other = project.module(imported.module)
        if other and imported.attribute:
            return kind_of(project, other, imported.attribute, depth + 1)
    return None


def factory_of(project: Project, module: Module, name: str, depth: int = 0) -> Factory | None:
    """Return the factory that a name of a module is, or None."""
    if depth > _MAX_DEPTH:
        return None
    if function := module.functions.get(name):
        made = _kind_of_function(project, module, function, depth + 1)
        return Factory(made, needed_arguments(function)) if made and not _interface(function) else None
    if (imported := module.imports.get(name)) and imported.attribute:
        other = project.module(imported.module)
        return factory_of(project, other, imported.attribute, depth + 1) if other else None
    return None


def needed_arguments(function: Function) -> tuple[str, ...]:
    """Return the arguments of a function that have no default."""
    given = function.args
    listed = [*given.posonlyargs, *given.args]
    required = listed[: len(listed) - len(given.defaults)]
    keywords = [one for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    return tuple(one.arg for one in (*required, *keywords))


def _kind_of_value(project: Project, module: Module, value: ast.expr, depth: int) -> Kind | None:
    if depth > _MAX_DEPTH or not project.spend():
        return None
    match value:
        case ast.Name(id=name):
            return kind_of(project, module, name, depth + 1)
        case ast.Attribute(value=ast.Name() as inner, attr=attribute) if attribute in _INNER:
            return _kind_of_value(project, module, inner, depth + 1)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            imported = module.imports.get(name)
            other = project.module(module.full_name(value.value)) if imported else None
            return kind_of(project, other, attribute, depth + 1) if other else None
        case ast.Call():
            return _kind_of_call(project, module, value, depth)
        case ast.IfExp(body=first, orelse=second) | ast.BoolOp(values=[first, second, *_]):
            return _kind_of_value(project, module, first, depth + 1) or _kind_of_value(
                project, module, second, depth + 1
            )
    return None


def _kind_of_call(project: Project, module: Module, call: ast.Call, depth: int) -> Kind | None:
    if known := _known(module.full_name(call.func)):
        return known
    owner, name = _owner(project, module, call.func)
    if owner and (function := owner.functions.get(name)):
        return _kind_of_function(project, owner, function, depth + 1)
    if owner and (made := owner.classes.get(name)):
        return _kind_of_class(project, owner, made, depth + 1)
    # A wrapper, such as ProxyFix(app).
    return next((kind for one in call.args if (kind := _kind_of_value(project, module, one, depth + 1))), None)


def _known(name: str) -> Kind | None:
    last = name.rpartition(".")[2]
    return _BY_FULL_NAME.get(name) or _BY_NAME.get(last)


def _owner(project: Project, module: Module, function: ast.expr) -> tuple[Module | None, str]:
    """Return the project's module that defines a called name, and the name there."""
    name = dotted(function)
    if name in module.functions or name in module.classes:
        return module, name
    source, _, last = module.full_name(function).rpartition(".")
    for _hop in range(_MAX_DEPTH):
        other = project.module(source)
        if other is None or last in other.functions or last in other.classes:
            return other, last
        imported = other.imports.get(last)
        if imported is None or imported.attribute is None:
            return None, last
        source, last = imported.module, imported.attribute
    return None, last


def _kind_of_class(project: Project, module: Module, made: ast.ClassDef, depth: int) -> Kind | None:
    if depth > _MAX_DEPTH:
        return None
    for base in made.bases:
        if known := _known(module.full_name(base)):
            return known
        owner, name = _owner(project, module, base)
        if owner and (inner := owner.classes.get(name)):
            return _kind_of_class(project, owner, inner, depth + 1)
    return None


def _kind_of_function(project: Project, module: Module, function: Function, depth: int) -> Kind | None:
    """Return the kind of the app that a function makes. Each function is read once."""
    key = (module.path, function.lineno)
    if key not in project.made:
        project.made[key] = None  # For a function that calls itself.
        if depth <= _MAX_DEPTH and _returns(function):
            project.made[key] = _made_kind(project, module, function, depth)
    return cast(Kind | None, project.made[key])


def _made_kind(project: Project, module: Module, function: Function, depth: int) -> Kind | None:
    """Return the kind of the first app that a function constructs, or that another one makes for it."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    for call in calls:
        if known := _known(module.full_name(call.func)):
            return known
    for call in calls:
        owner, name = _owner(project, module, call.func)
        inner = owner and (owner.functions.get(name) or owner.classes.get(name))
        if owner and inner and inner is not function and _is_maker(name):
            made = _kind_of_call(project, module, call, depth + 1)
            if made:
                return made
    return None


def _is_maker(name: str) -> bool:
    """Return True for the name of a class, or of a function that makes or gets an app."""
    return name[:1].isupper() or "app" in name.lower()


def _returns(function: Function) -> bool:
    return any(isinstance(node, ast.Return) and node.value is not None for node in _own_nodes(function))


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """Return the nodes of a function without those of functions inside of it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _interface(function: Function) -> Kind | None:
    """Return the interface that a function is itself, by its arguments."""
    names = tuple(one.arg for one in function.args.args)
    if names[-3:] == _ASGI_ARGUMENTS:
        return "asgi"
    return "wsgi" if names[-2:] == _WSGI_ARGUMENTS or names == ("env", "start_response") else None
