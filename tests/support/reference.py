"""Writes the tables of docs/configuration.md from the schema: `python -m tests.support.reference` mends them."""

import re
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hookd.model.app import App
from hookd.model.settings import Settings
from tests.support.processes import PROJECT

PAGE = PROJECT / "docs" / "configuration.md"
_PARTS: dict[str, type[BaseModel]] = {"hookd.toml": Settings, "apps/<app>.toml": App}


def tables() -> dict[str, str]:
    """Render one Markdown table per configuration file."""
    return {file: _table(model) for file, model in _PARTS.items()}


def written(page: str) -> dict[str, str]:
    """Find the tables that stand in the page."""
    return {file: match[1] for file in _PARTS if (match := _marked(file).search(page))}


def updated(page: str) -> str:
    """Put today's tables into the page's text."""
    for file, table in tables().items():
        block = f"<!-- {file} -->\n{table}<!-- end -->"
        page = _marked(file).sub(block.replace("\\", r"\\"), page)
    return page


def keys(model: type[BaseModel]) -> list[str]:
    """Name every key of a configuration file, with its tables."""
    return [key for key, _, _ in _rows(model)]


def _marked(file: str) -> re.Pattern[str]:
    return re.compile(rf"<!-- {re.escape(file)} -->\n(.*?)<!-- end -->", re.DOTALL)


def _table(model: type[BaseModel]) -> str:
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in _rows(model)]
    return "\n".join(["| key | default | what it means |", "|---|---|---|", *rows]) + "\n"


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if model is App and name == "name":
            continue
        section, named = _section(field.annotation), _named_section(field.annotation)
        if section is not None:
            yield from _rows(section, f"{prefix}{name}.")
        elif named is not None:
            yield from _rows(named, f"{prefix}{name}.NAME.")
        else:
            yield f"{prefix}{name}", _default(field), _text(field)


def _section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _named_section(annotation: Any) -> type[BaseModel] | None:
    """Return the section of a table of sections, which have names of the user's."""
    return _section(typing.get_args(annotation)[1]) if typing.get_origin(annotation) is dict else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = None if field.default_factory else field.default
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, tuple):
        return "`" + ", ".join(str(item) for item in value) + "`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _text(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    return f"{field.description}{f' One of {choices}.' if choices else ''}".replace("|", "\\|")


def _choices(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{choice}`" for choice in annotation)
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) in (tuple, types.UnionType):
        return next((found for part in typing.get_args(annotation) if (found := _choices(part))), "")
    return ""


if __name__ == "__main__":
    Path(PAGE).write_text(updated(PAGE.read_text()))
