"""The framework behind a name of a module: Flask, Django, WSGI or ASGI, read from the syntax trees."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
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
    if depth > _MAX_DEPTH or not (bound := _binding(project, module, name)):
        return None
    owner, name = bound
    if value := owner.values.get(name):
        return _kind_of_value(project, owner, value, depth + 1)
    function = owner.functions.get(name)
    return _interface(function) if function else None


def factory_of(project: Project, module: Module, name: str) -> Factory | None:
    """Return the factory that a name of a module is, or None."""
    owner, name = _binding(project, module, name) or (module, name)
    function = owner.functions.get(name)
    made = _kind_of_function(project, owner, function, 1) if function and not _interface(function) else None
    return Factory(made, _needed_arguments(function)) if function and made else None


def _binding(project: Project, module: Module, name: str) -> tuple[Module, str] | None:
    """Return the project's module that binds a name, found through imports, and its name there."""
    for _ in range(_MAX_DEPTH):
        if name in module.values or name in module.functions or name in module.classes:
            return module, name
        source, _, name = module.resolve(name).rpartition(".")
        other = project.module(source)
        if other is None or other is module:
            return None
        module = other
    return None


def _needed_arguments(function: Function) -> tuple[str, ...]:
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
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if attribute in _INNER:
            inner = kind_of(project, module, name, depth + 1)
            return inner or kind_of(project, module, f"{name}.{attribute}", depth + 1)
        case ast.Name() | ast.Attribute():
            return kind_of(project, module, dotted(value), depth + 1)
        case ast.Call():
            return _kind_of_call(project, module, value, depth)
        case ast.IfExp(body=first, orelse=second) | ast.BoolOp(values=[first, second, *_]):
            return _first_kind(project, module, [first, second], depth)
    return None


def _first_kind(project: Project, module: Module, values: list[ast.expr], depth: int) -> Kind | None:
    return next((kind for one in values if (kind := _kind_of_value(project, module, one, depth + 1))), None)


def _kind_of_call(project: Project, module: Module, call: ast.Call, depth: int) -> Kind | None:
    if known := _known(module.full_name(call.func)):
        return known
    if bound := _binding(project, module, dotted(call.func)):
        owner, name = bound
        if function := owner.functions.get(name):
            return _kind_of_function(project, owner, function, depth + 1)
        if made := owner.classes.get(name):
            return _kind_of_class(project, owner, made, depth + 1)
    return _first_kind(project, module, call.args, depth)  # A wrapper, such as ProxyFix(app).


def _known(name: str) -> Kind | None:
    return _BY_FULL_NAME.get(name) or _BY_NAME.get(name.rpartition(".")[2])


def _kind_of_class(project: Project, module: Module, made: ast.ClassDef, depth: int) -> Kind | None:
    for base in made.bases if depth <= _MAX_DEPTH else ():
        if known := _known(module.full_name(base)):
            return known
        owner, name = _binding(project, module, dotted(base)) or (module, "")
        if inner := owner.classes.get(name):
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
    known = (_known(module.full_name(call.func)) for call in calls)
    makers = (call for call in calls if _is_maker(dotted(call.func).rpartition(".")[2]))
    made = (_kind_of_call(project, module, call, depth + 1) for call in makers)
    return next(filter(None, chain(known, made)), None)


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
