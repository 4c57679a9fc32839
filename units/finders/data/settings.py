"""Fields of pydantic's settings classes, by the names of the variables that they read."""

import ast
import re
from collections.abc import Iterator

from hookd.model.plan import Variable
from units.finders.code.project import Project
from units.finders.code.syntax import Module, assignments, keyword, source_of, text_of


def settings_fields(project: Project, modules: tuple[Module, ...]) -> Iterator[Variable]:
    """Return the fields of all classes that inherit from BaseSettings, directly or not."""
    known = {"BaseSettings"}
    classes = [(module, made) for module in modules for made in module.classes.values()]
    for _, made in classes * 3:  # A module may come before the one of its base.
        if any(source_of(base).rpartition(".")[2] in known for base in made.bases):
            known.add(made.name)
    for module, made in classes:
        if made.name in known:
            yield from _fields(project, module, made)


def _fields(project: Project, module: Module, made: ast.ClassDef) -> Iterator[Variable]:
    prefix = _prefix(made)
    for one in made.body:
        match one:
            case ast.AnnAssign(target=ast.Name(id=field), annotation=annotation, value=value):
                kind = source_of(annotation)
                if "ClassVar" not in kind and not field.startswith("_") and field != "model_config":
                    name, needed = _read(f"{prefix}{field}", value)
                    optional = re.search(r"\b(?:Optional|None)\b", kind)
                    yield Variable(name.upper(), project.place_of(module, one), needed and not optional)


def _read(name: str, value: ast.expr | None) -> tuple[str, bool]:
    """Return the variable of a field, and True if it has no default: `name: str = Field(alias="NAME")`."""
    if not isinstance(value, ast.Call) or not source_of(value.func).endswith("Field"):
        return name, value is None
    default = value.args[0] if value.args else keyword(value, "default", "default_factory")
    needed = default is None or (isinstance(default, ast.Constant) and default.value is ...)
    return text_of(keyword(value, "validation_alias", "alias")) or name, needed


def _prefix(made: ast.ClassDef) -> str:
    """Return the prefix of all variables: `model_config = SettingsConfigDict(env_prefix="SHOP_")`."""
    config = dict(assignments(tuple(made.body))).get("model_config")
    return (text_of(keyword(config, "env_prefix")) if isinstance(config, ast.Call) else None) or ""
