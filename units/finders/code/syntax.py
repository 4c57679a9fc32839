"""The syntax tree of one Python file: what it binds, imports and calls. Nothing of it runs."""

import ast
import re
import warnings
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Final, TypeVar, cast

_Node = TypeVar("_Node", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef
_MAX_NODES: Final = 200_000
_NAME: Final = re.compile(r"[A-Za-z_]\w{0,40}(?:\.[A-Za-z_]\w{0,40}){1,5}")


@dataclass(frozen=True)
class Imported:
    """An imported name: the whole module, or an attribute of it."""

    module: str
    attribute: str | None


@dataclass(frozen=True)
class Module:
    """A parsed file. `path` is relative to the app's directory."""

    name: str
    path: str
    body: ast.Module = field(repr=False)

    @property
    def package(self) -> str:
        """The package that relative imports begin in."""
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the file, the outer ones first."""
        return tuple(islice(_walk(self.body), _MAX_NODES))

    @cached_property
    def _kinds(self) -> dict[type[ast.AST], list[ast.AST]]:
        """All nodes by their type."""
        found: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
        for node in self.nodes:
            found[type(node)].append(node)
        return found

    def all_of(self, kind: type[_Node]) -> list[_Node]:
        """Return all nodes of one type, the outer ones first."""
        return cast(list[_Node], self._kinds.get(kind, []))

    @property
    def calls(self) -> list[ast.Call]:
        """All calls of the file."""
        return self.all_of(ast.Call)

    @cached_property
    def _statements(self) -> tuple[ast.stmt, ...]:
        """The statements that an import runs, outside of functions and classes."""
        return tuple(running_statements(self.body.body))

    @cached_property
    def values(self) -> dict[str, ast.expr]:
        """The last value of each name that the module binds by an assignment."""
        return dict(assignments(self._statements))

    @cached_property
    def functions(self) -> dict[str, Function]:
        """The functions of the module by name."""
        return {one.name: one for one in self._statements if isinstance(one, Function)}

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """The classes of the module by name."""
        return {one.name: one for one in self._statements if isinstance(one, ast.ClassDef)}

    @cached_property
    def imports(self) -> dict[str, Imported]:
        """The imported names of the whole file, also those of functions. `*` has the last star import."""
        found: dict[str, Imported] = {}
        for alias in (alias for one in self.all_of(ast.Import) for alias in one.names):
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            found[alias.asname or whole] = Imported(whole, None)
        for one in self.all_of(ast.ImportFrom):
            source = self.absolute(one)
            found |= {alias.asname or alias.name: Imported(source, alias.name) for alias in one.names}
        return found

    @cached_property
    def imported_modules(self) -> tuple[str, ...]:
        """The names of all modules that the file may import."""
        found = [alias.name for one in self.all_of(ast.Import) for alias in one.names]
        for one in self.all_of(ast.ImportFrom):
            source = self.absolute(one)
            found += [source, *(f"{source}.{alias.name}" for alias in one.names)]
        return tuple(dict.fromkeys(found))

    @cached_property
    def environment_readers(self) -> frozenset[str]:
        """The functions that read the variable which their first argument names."""
        found = set()
        for name, function in self.functions.items():
            first = function.args.args[0].arg if function.args.args else None
            calls = (one for one in _walk(function) if isinstance(one, ast.Call) and one.args)
            names = (
                dotted(one.args[0]) for one in calls if self.full_name(one.func) in ("os.environ.get", "os.getenv")
            )
            if first and first in names:
                found.add(name)
        return frozenset(found)

    @cached_property
    def interpolates_environment(self) -> bool:
        """True if a configparser of the file takes values from variables, as its keys name them."""
        kinds = [source_of(base) for one in self.classes.values() for base in one.bases]
        return any(kind.endswith("Interpolation") for kind in kinds)

    @cached_property
    def named_modules(self) -> tuple[str, ...]:
        """The texts that may name a module or a class in one, such as `shop.config.Production`."""
        texts = (text for node in self.all_of(ast.Constant) if (text := text_of(node)))
        named = (text for text in texts if _NAME.fullmatch(text))
        return tuple(dict.fromkeys(name for text in named for name in (text, text.rpartition(".")[0])))

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the full name of the module of a `from` import."""
        if not node.level:
            return node.module or ""
        parts = self.package.split(".") if self.package else []
        kept = parts[: len(parts) - node.level + 1]
        return ".".join([*kept, *([node.module] if node.module else [])])

    def full_name(self, expression: ast.expr) -> str:
        """Return the dotted name of an expression with its import resolved: `flask.Flask`, or an empty text."""
        return self.resolve(dotted(expression))

    def resolve(self, name: str) -> str:
        """Return a dotted name with its import resolved."""
        first, _, rest = name.partition(".")
        imported = self.imports.get(first)
        if imported is None:
            return name
        return ".".join(filter(None, (imported.module, imported.attribute, rest)))


def _walk(root: ast.AST) -> Iterator[ast.AST]:
    """Return a node and all below it, the outer ones first. Operators and contexts are left out."""
    waiting = deque([root])
    while waiting:
        node = waiting.popleft()
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                waiting.extend(one for one in value if isinstance(one, ast.AST))
            elif isinstance(value, ast.AST) and value._fields:
                waiting.append(value)


def parse(name: str, path: str, text: str) -> Module | None:
    """Parse a file, and return None if it is no Python of this version, or nested too deeply."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Module(name, path, ast.parse(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def assignments(statements: tuple[ast.stmt, ...]) -> Iterator[tuple[str, ast.expr]]:
    """Return each name with its assigned value, in the order of the file."""
    for one in statements:
        match one:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if name := dotted(target):
                        yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def running_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Return the statements that run on import, also those in blocks."""
    waiting = deque(body)
    while waiting:
        one = waiting.popleft()
        if isinstance(one, ast.If) and _is_main(one.test):
            continue
        yield one
        if isinstance(one, ast.If | ast.Try | ast.With | ast.For | ast.While):
            blocks = [getattr(one, name, []) for name in ("body", "orelse", "finalbody")]
            blocks += [handler.body for handler in getattr(one, "handlers", [])]
            waiting.extendleft(inner for block in reversed(blocks) for inner in reversed(block))


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def dotted(expression: ast.expr) -> str:
    """Return `a.b.c` for names and their attributes, and an empty text for all other expressions."""
    parts: list[str] = []
    while isinstance(expression, ast.Attribute):
        parts.append(expression.attr)
        expression = expression.value
    if not isinstance(expression, ast.Name):
        return ""
    return ".".join([expression.id, *reversed(parts)])


def source_of(node: ast.AST) -> str:
    """Return a node as source code, or an empty text if it is nested too deeply."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""


def text_of(expression: ast.expr | None) -> str | None:
    """Return the value of a text literal, or None."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    return None


def texts_of(expression: ast.expr | None) -> tuple[str, ...]:
    """Return the text literals of a list or a tuple."""
    if not isinstance(expression, ast.List | ast.Tuple | ast.Set):
        return ()
    return tuple(text for one in expression.elts if (text := text_of(one)) is not None)


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """Return the value of the first of these keyword arguments, or None."""
    return next((one.value for one in call.keywords if one.arg in names), None)


def argument(call: ast.Call, place: int, *names: str) -> ast.expr | None:
    """Return an argument by its place or by one of its names, or None."""
    return call.args[place] if place < len(call.args) else keyword(call, *names)
