"""The WSGI or ASGI callable of a project, as gunicorn takes it: found in a module, or checked in one."""

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from hookd.model.nested import table
from units.finders.code.project import Project, is_serving
from units.finders.code.syntax import Module, text_of
from units.finders.web.callables import Kind, factory_of, kind_of

TARGET: Final = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*(?:\(.*\))?)?")
_NAMES: Final = ("app", "application", "server", "wsgi", "asgi", "api")
_FACTORIES: Final = ("create_app", "make_app", "create_application", "get_app", "get_application", "build_app")
_FILES: Final = (
    "wsgi", "asgi", "app", "main", "application", "server", "webapp", "web", "api", "run", "autoapp", "index",
)  # fmt: skip
_IN_PACKAGE: Final = ("__init__", "wsgi", "asgi", "app", "main", "application", "factory", "server", "webapp", "web")


@dataclass(frozen=True)
class Entry:
    """A callable: `module:app` or `module:create_app()`. `needed` are a factory's arguments without a value."""

    target: str
    kind: Kind
    module: Module
    source: str
    needed: tuple[str, ...] = ()
    is_factory: bool = False
    proposed: bool = False

    @property
    def directory(self) -> str:
        """The directory of the module."""
        return posixpath.dirname(self.module.path)


def entry_named(project: Project, written: str, source: str, default: str = "application") -> Entry | None:
    """Return the entry that a command names, also as `shop.py:app`, or None if the project has no such module."""
    file, _, attribute = written.partition(":")
    name = file.removesuffix(".py").replace("/", ".").strip(".")
    module = project.module(name)
    if module is None or not TARGET.fullmatch(f"{name}:{attribute}" if attribute else name):
        return None
    if not attribute:
        found = entry_in(project, module)
        attribute = found.target.partition(":")[2] if found else default
    callee, arguments, _ = attribute.partition("(")
    if not arguments:
        kind = kind_of(project, module, callee)
    elif _are_literal(attribute):
        factory = factory_of(project, module, callee)
        kind = factory.kind if factory else None
    else:
        return None
    return Entry(f"{name}:{attribute}", kind or "wsgi", module, source, is_factory=bool(arguments))


def _are_literal(call: str) -> bool:
    """Return True if a factory is called with literals alone, which gunicorn takes."""
    try:
        parsed = ast.parse(call, mode="eval").body
        arguments = [*parsed.args, *(word.value for word in parsed.keywords)] if isinstance(parsed, ast.Call) else []
        for one in arguments:
            ast.literal_eval(one)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return isinstance(parsed, ast.Call)


def find_entry(project: Project) -> Entry | None:
    """Return the project's entry: an app of a module, else a factory, best without arguments, in the usual modules."""
    modules = (module for path in _candidates(project) if (module := project.module_at(path)))
    factories = []
    for found in (entry_in(project, module) for module in modules):
        if found and not found.is_factory:
            return found
        factories += [found] if found else []
    return min(factories, key=lambda one: bool(one.needed), default=None)


def entry_in(project: Project, module: Module) -> Entry | None:
    """Return the app or the factory of one module."""
    named = [*_NAMES, *(name for name in module.values if name not in _NAMES and "." not in name)]
    for name in named:
        if kind := kind_of(project, module, name):
            line = getattr(module.values.get(name) or module.functions.get(name), "lineno", 1)
            return Entry(f"{module.name}:{name}", kind, module, project.place(module.path, line))
    return _factory_in(project, module)


def _factory_in(project: Project, module: Module) -> Entry | None:
    for name in [*_FACTORIES, *(name for name in module.functions if name.endswith("_app") and name not in _FACTORIES)]:
        if name in module.functions and (factory := factory_of(project, module, name)):
            source = project.place_of(module, module.functions[name])
            entry = Entry(f"{module.name}:{name}()", factory.kind, module, source, factory.needed, is_factory=True)
            return _with_argument(project, entry)
    return None


def _with_argument(project: Project, entry: Entry) -> Entry:
    """Fill in the one needed argument of a factory if a table of configurations has a key for production."""
    if len(entry.needed) != 1:
        return entry
    for name in ("config", f"{entry.module.name}.config", f"{entry.module.package}.config", entry.module.name):
        module = project.module(name)
        for value in module.values.values() if module else ():
            keys = [text_of(key) for key in value.keys] if isinstance(value, ast.Dict) else []
            if wanted := next((key for key in ("production", "prod") if key in keys), None):
                target = entry.target.replace("()", f"({wanted!r})")
                return replace(entry, target=target, needed=(), proposed=True)
    return entry


def _candidates(project: Project) -> Iterator[str]:
    """Return the files of Python that may have the entry, the most usual first."""
    paths = [path for path in project.top_modules() if is_serving(path.removeprefix("src/"))]
    # For `fastapi run`.
    given = table(project.toml("pyproject.toml"), "tool", "fastapi").get("entrypoint")
    named = project.path_of(given.partition(":")[0]) if isinstance(given, str) else None
    return iter(dict.fromkeys([*filter(None, [named]), *sorted(paths, key=lambda one: _rank(project, one))]))


def _rank(project: Project, path: str) -> tuple[int, int, str]:
    inner = path.removeprefix(f"{project.root_of(path)}/")
    parent, _, name = inner.removesuffix(".py").rpartition("/")
    if not parent:
        return (0, _FILES.index(name), inner) if name in _FILES else (2, 0, inner)
    return (1, _IN_PACKAGE.index(name), inner) if name in _IN_PACKAGE else (3, 0, inner)
