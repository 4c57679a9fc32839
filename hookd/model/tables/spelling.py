"""Spelling of a configuration: examples for refused values, and the known key nearest to an unknown one."""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

# By key, where the kind of its value does not say enough.
_EXAMPLES: Final[Mapping[str, str]] = {
    "dependencies.file": 'one file such as "requirements/prod.txt", which names others with -r',
    "dependencies.environment": 'a table such as {UV_INDEX_URL = "https://…"}',
    "build.memory_max": 'a size such as "512M"',
    "build.environment": 'a table such as {NODE_ENV = "production"}',
    "full_name": "owner/name, such as acme/shop",
    "health.status": 'a status such as 204, or "<500"',
    "health.host": "a host name such as shop.example.org",
    "ownership.group": "a name such as www-data",
    "ownership.user": "a name such as www-data",
    "paths.exclude": 'a list of patterns such as ["docs", "*.md"]',
    "paths.include": 'a list of patterns such as ["src/**"]',
    "service.endpoint": "ipc:///path/of/circus.sock",
    "service.entry": "a module and its callable such as shop.wsgi:app or shop:create_app('production')",
    "service.memory_max": 'a size such as "512M" or "75%"',
    "service.name": "a name such as shop",
    "service.restart_also": 'a list of services such as ["shop-celery.service"]',
    "shared.directories": 'a list of directories such as ["uploads"]',
    "shared.files": 'a list of files such as [".env"]',
}
# By the start of pydantic's kind of error. The first that fits counts.
_KINDS: Final[Mapping[str, str]] = {
    "bool": "true or false",
    "dict": "a table",
    "float": "a number",
    "int": "a whole number",
    "model": "a table",
    "path": "a path in quotes",
    "string_too_short": "a text that is not empty",
    "string_too_long": "a shorter text",
    "string_type": "a text in quotes",
    "too_short": "at least one",
    "tuple": "a list",
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
}
_SIMILARITY: Final = 0.6
# How pydantic names the one of several types that a value does not fit.
_TYPE_NAME: Final = re.compile(r"(?:constrained-)?(?:int|float|str|bool)|[a-z-]+\[.*")


def key_of(location: Sequence[str | int]) -> str:
    """Return the key at the location of a validation error."""
    parts = [str(part) for part in location]
    while len(parts) > 1 and _TYPE_NAME.fullmatch(parts[-1]):
        parts.pop()
    return ".".join(parts)


def wanted(location: Sequence[str | int], kind: str, limits: Mapping[str, Any]) -> str | None:
    """Return what a key's value should be, by its location and pydantic's kind of error, or None if unknown."""
    key = ".".join(part for part in map(str, location) if part.isidentifier())
    if example := _EXAMPLES.get(key):
        return example
    text = next((text for start, text in _KINDS.items() if kind.startswith(start)), None)
    return text and text.format_map(limits)


def takes_text(model: type[BaseModel], path: Sequence[str]) -> bool:
    """Return True if a key takes a text and no number."""
    inside: Any = model
    for name in path:
        inside = next((value for kind in _kinds(inside) if (value := _value(kind, name)) is not None), None)
    kinds = set(_kinds(inside))
    return str in kinds and kinds.isdisjoint({int, float})


def _value(kind: Any, name: str) -> Any:
    """Return the type of a value in a table, or None."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[name].annotation if name in kind.model_fields else None
    return get_args(kind)[1] if get_origin(kind) in (dict, Mapping) else None


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types of which a value has one."""
    match get_origin(annotation):
        case origin if origin is Annotated:
            yield from _kinds(get_args(annotation)[0])
        case origin if origin in (Union, types.UnionType):
            for kind in get_args(annotation):
                yield from _kinds(kind)
        case _:
            yield annotation


def nearest_key(model: type[BaseModel], location: Sequence[str | int]) -> str | None:
    """Return the known key that an unknown one was probably meant to be, from the same table, or from another one."""
    *tables, name = map(str, location)
    inside: type[BaseModel] | None = model
    for table in tables:
        inside = _section(inside, table) if inside else None
    near = get_close_matches(name, inside.model_fields, n=1, cutoff=_SIMILARITY) if inside else []
    if near:
        return ".".join((*tables, near[0]))
    others = [key for key in _keys(model) if key.rpartition(".")[2] == name]
    return others[0] if len(others) == 1 else None


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys, without those of named tables."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a table. In a table of named tables, any name leads to theirs."""
    field = model.model_fields.get(name)
    return _model_in(field.annotation) if field else model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (dict, Union, types.UnionType):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None
