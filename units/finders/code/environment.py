"""Reads of variables in a project's Python: of os.environ, of known libraries, and by the project's own helpers."""

import ast
import re
from typing import Final

from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, dotted, keyword, text_of

_UPPER: Final = re.compile(r"[A-Z][A-Z0-9_]+")
_WITH_DEFAULT: Final = ("os.environ.get", "os.getenv", "os.environ.setdefault", "os.environ.pop")
_READERS: Final = (
    "environ.Env", "environ.FileAwareEnv", "environs.Env", "environs.FileAwareEnv", "decouple.Config",
    "decouple.AutoConfig", "starlette.config.Config",
)  # fmt: skip


def variable_of(project: Project, module: Module, node: ast.AST) -> str | None:
    """Return the name of the variable that an expression reads, or None."""
    match node:
        case ast.Subscript():
            return _of_key(module, node)
        case ast.Call():
            return _of_call(module, node) or _of_helper(project, module, node)
    return None


def variables_in(project: Project, module: Module, *nodes: ast.AST) -> tuple[str, ...]:
    """Return the names of all variables that are read in some nodes."""
    return tuple(name for node in nodes for one in ast.walk(node) if (name := variable_of(project, module, one)))


def is_needed(module: Module, node: ast.expr) -> bool:
    """Return True if a read fails without the variable."""
    if isinstance(node, ast.Subscript):
        return module.full_name(node.value) == "os.environ"
    if not isinstance(node, ast.Call) or argument(node, 1, "default", "fallback") is not None:
        return False
    name, maker = module.full_name(node.func), _maker(module, node)
    if maker is None:
        return name == "decouple.config"
    has_default = {word.arg for word in maker.keywords}
    return text_of(argument(node, 0)) not in has_default and not name.endswith(".read_env")


def _of_key(module: Module, node: ast.Subscript) -> str | None:
    if module.full_name(node.value) == "os.environ":
        return text_of(node.slice)
    key = text_of(node.slice) or ""
    is_section = isinstance(node.value, ast.Subscript) and isinstance(node.value.value, ast.Name)
    return key if is_section and _UPPER.fullmatch(key) and module.interpolates_environment else None


def _of_call(module: Module, node: ast.Call) -> str | None:
    name = module.full_name(node.func)
    if name in _WITH_DEFAULT:
        return text_of(argument(node, 0, "key"))
    if name == "dj_database_url.config":
        return text_of(keyword(node, "env")) or "DATABASE_URL"
    if name == "decouple.config":
        return text_of(argument(node, 0, "option"))
    if _maker(module, node) is None:
        return None
    first = text_of(argument(node, 0, "var", "name", "key"))
    return first or ("DATABASE_URL" if name.endswith((".db", ".db_url")) else None)


def _maker(module: Module, node: ast.Call) -> ast.Call | None:
    """Return the call that made a reader: `environ.Env()`, `environs.Env()`, decouple's or Starlette's `Config()`."""
    value = module.values.get(dotted(node.func).partition(".")[0])
    return value if isinstance(value, ast.Call) and module.full_name(value.func) in _READERS else None


def _of_helper(project: Project, module: Module, node: ast.Call) -> str | None:
    """Return the variable that a call of the project's own helper reads: `get_path("SHOP_DATA", "data")`."""
    source, _, name = module.full_name(node.func).rpartition(".")
    owner = project.module(source) if source else module
    return text_of(argument(node, 0)) if owner and name in owner.environment_readers else None
