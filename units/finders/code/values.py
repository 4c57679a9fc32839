"""Values of path and URL expressions in settings, computed from the syntax tree without running it.

The app's directory is `_ROOT` in a value. A value keeps the names of the variables that can replace it.
"""

import ast
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from units.finders.code.environment import variable_of, variables_in
from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, assignments, dotted, running_statements, text_of

_ROOT: Final = "/.app"
_MAX_DEPTH: Final = 12
_MAX_TEXT: Final = 4096
_SAME: Final = frozenset(
    ("abspath", "realpath", "normpath", "Path", "PurePath", "str", "fspath", "resolve", "absolute")
)
_SAME_METHODS: Final = frozenset("resolve absolute as_posix strip rstrip lower expanduser".split())


@dataclass(frozen=True)
class Value:
    """A computed text, and the variables that replace it."""

    text: str
    variables: tuple[str, ...] = ()


class Values:
    """Computes values in a project. Each result is kept, and the depth is bounded."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._names: dict[str, dict[str, ast.expr]] = {}
        self._known: dict[int, Value | None] = {}

    def names(self, module: Module) -> dict[str, ast.expr]:
        """Return the values of a module's names, of its classes' names, and of `config["NAME"]`."""
        if module.path not in self._names:
            found: dict[str, ast.expr] = {}
            for node in module.nodes:
                if isinstance(node, ast.ClassDef):
                    inner = dict(assignments(tuple(running_statements(node.body))))
                    found |= {f"{node.name}.{name}": value for name, value in inner.items()} | inner
                elif isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Subscript):
                    found.setdefault(f"config:{text_of(target.slice)}", node.value)
            self._names[module.path] = found | module.values
        return self._names[module.path]

    def of(self, module: Module, expression: ast.expr, depth: int = 0) -> Value | None:
        """Return the value of an expression, or None if it cannot be computed. Each one is computed once."""
        key = id(expression)
        if key not in self._known:
            self._known[key] = None  # For a name that is bound to itself.
            found = self._of(module, expression, depth + 1) if depth <= _MAX_DEPTH else None
            self._known[key] = found if found and len(found.text) <= _MAX_TEXT else None
        return self._known[key]

    def _of(self, module: Module, expression: ast.expr, depth: int) -> Value | None:
        match expression:
            case ast.Constant(value=str(text)):
                return Value(text)
            case ast.Name(id="__file__"):
                return Value(f"{_ROOT}/{module.path}")
            case ast.Name() | ast.Attribute():
                return self._of_name(module, expression, depth)
            case ast.BinOp(left=left, right=right, op=op):
                return self._of_operation(module, left, op, right, depth)
            case ast.JoinedStr(values=parts):
                return self._joined([self._of_part(module, one, depth) for one in parts], "".join)
            case ast.BoolOp(op=ast.Or(), values=values):
                return self._last(module, values, depth)
            case ast.Subscript(value=ast.Attribute(value=inner, attr="parents"), slice=ast.Constant(value=int(number))):
                return self._parent(self.of(module, inner, depth), number + 1)
            case ast.Subscript(value=inner, slice=key):
                return self._of_key(module, inner, text_of(key), depth)
            case ast.Call():
                return self._of_call(module, expression, depth)
        return None

    def _of_part(self, module: Module, part: ast.expr, depth: int) -> Value | None:
        return self.of(module, part.value if isinstance(part, ast.FormattedValue) else part, depth)

    def _of_name(self, module: Module, expression: ast.expr, depth: int) -> Value | None:
        name = dotted(expression)
        if module.full_name(expression) in ("os.pardir", "os.curdir"):
            return Value(".." if name.endswith("pardir") else ".")
        if name.endswith("instance_path"):
            return Value(f"{_ROOT}/instance")
        if name.endswith("root_path") and name != "root_path":
            return Value(f"{_ROOT}/{posixpath.dirname(module.path)}")
        if isinstance(expression, ast.Attribute) and expression.attr == "parent":
            return self._parent(self.of(module, expression.value, depth), 1)
        if value := self.names(module).get(name):
            return self.of(module, value, depth)
        source, _, last = module.full_name(expression).rpartition(".")
        other = self._project.module(source)
        if other and other is not module and (value := self.names(other).get(last)):
            return self.of(other, value, depth)
        imported = module.imports.get("*")
        star = self._project.module(imported.module) if imported else None
        if star and (value := self.names(star).get(name)):
            return self.of(star, value, depth)
        return None

    def _of_operation(
        self, module: Module, left: ast.expr, op: ast.operator, right: ast.expr, depth: int
    ) -> Value | None:
        first, second = self.of(module, left, depth), self.of(module, right, depth)
        match op:
            case ast.Add():
                return self._joined([first, second], "".join)
            case ast.Div():
                return self._joined([first, second], lambda texts: posixpath.join(*texts))
        return None

    def _of_key(self, module: Module, inner: ast.expr, key: str | None, depth: int) -> Value | None:
        """Return the value of `config["NAME"]`."""
        value = self.names(module).get(f"config:{key}") if dotted(inner).endswith("config") else None
        return self.of(module, value, depth) if value else None

    def _of_call(self, module: Module, call: ast.Call, depth: int) -> Value | None:
        name = module.full_name(call.func)
        last = call.func.attr if isinstance(call.func, ast.Attribute) else name.rpartition(".")[2]
        if name == "os.path.join" or (last in _SAME and len(call.args) > 1):
            return self._joined(
                [self.of(module, one, depth) for one in call.args], lambda texts: posixpath.join(*texts)
            )
        if name == "os.path.dirname" and call.args:
            return self._parent(self.of(module, call.args[0], depth), 1)
        if variable := variable_of(self._project, module, call):
            default = argument(call, 1, "default", "fallback")
            value = self.of(module, default, depth) if default is not None else None
            return Value(value.text, (variable, *value.variables)) if value else None
        if last in _SAME and len(call.args) == 1:
            return self.of(module, call.args[0], depth)
        if isinstance(call.func, ast.Attribute):
            return self._of_method(module, call, call.func, depth)
        return None

    def _of_method(self, module: Module, call: ast.Call, function: ast.Attribute, depth: int) -> Value | None:
        inner = self.of(module, function.value, depth)
        arguments = [self.of(module, one, depth) for one in call.args]
        match function.attr:
            case name if name in _SAME_METHODS:
                return inner
            case "joinpath":
                return self._joined([inner, *arguments], lambda texts: posixpath.join(*texts))
            case "replace" if len(arguments) == 2:
                return self._joined([inner, *arguments], lambda texts: texts[0].replace(texts[1], texts[2]))
            case "format" if inner and len(arguments) == 1:
                return self._joined(
                    [inner, *arguments], lambda texts: texts[0].replace("{}", texts[1]).replace("{0}", texts[1])
                )
        return None

    def _last(self, module: Module, values: list[ast.expr], depth: int) -> Value | None:
        """Return the last value that can be computed, with the variables of all."""
        found = [self.of(module, one, depth) for one in values]
        value = next((one for one in reversed(found) if one and one.text), None)
        names = variables_in(self._project, module, *values)
        return Value(value.text, tuple(dict.fromkeys((*names, *value.variables)))) if value else None

    def _joined(self, parts: list[Value | None], join: Callable[[list[str]], str]) -> Value | None:
        known = [one for one in parts if one is not None]
        if len(known) < len(parts) or not known:
            return None
        return Value(join([one.text for one in known]), tuple(name for one in known for name in one.variables))

    def _parent(self, value: Value | None, levels: int) -> Value | None:
        if value is None:
            return None
        text = posixpath.normpath(value.text)
        for _ in range(min(levels, text.count("/") + 1)):
            text = posixpath.dirname(text)
        return Value(text, value.variables)


def inside(text: str) -> str | None:
    """Return a path of the app's directory relative to it, or None for a path elsewhere."""
    path = posixpath.normpath(text if text.startswith("/") else posixpath.join(_ROOT, text))
    return path.removeprefix(f"{_ROOT}/") if path.startswith(f"{_ROOT}/") else None
