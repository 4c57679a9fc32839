"""The key of sessions and signatures, if its value stands in the code."""

import ast
from collections.abc import Iterator

from units.finders.code.environment import variables_in
from units.finders.code.project import Project
from units.finders.code.syntax import Module, assignments, text_of


def open_secret(project: Project, modules: tuple[Module, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a remark if the value of Flask's or Django's key is in the code, and the variables that replace it."""
    module, value = next(((one, value) for one in modules for value in _secret_keys(one)), (None, None))
    if module is None or value is None:
        return (), ()
    names = variables_in(project, module, value)
    texts = [text for one in ast.walk(value) if isinstance(one, ast.Constant) and (text := text_of(one))]
    if module.interpolates_environment or all(text in names for text in texts):
        return (), ()
    mend = f"set {names[0]}" if names else "read it from a variable"
    place = project.place_of(module, value)
    return (f"SECRET_KEY has a value in the code that each reader knows: {mend} ({place}).",), names


def _secret_keys(module: Module) -> Iterator[ast.expr]:
    if value := module.values.get("SECRET_KEY"):
        yield value
    for made in module.classes.values():
        if "test" not in made.name.lower():
            yield from (value for name, value in assignments(tuple(made.body)) if name == "SECRET_KEY")
