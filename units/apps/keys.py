"""Keys such as `service.entry` in an app's table, and their values as a person types them."""

import tomllib
from collections.abc import Mapping, MutableMapping
from typing import Any

from units.system.errors import Refused


def has_key(table: Mapping[str, Any], path: str) -> bool:
    """Return True if a table has a key such as `service.entry`."""
    *tables, key = path.split(".")
    for name in tables:
        found = table.get(name, {})
        if not isinstance(found, Mapping):
            return True
        table = found
    return key in table


def set_key(table: MutableMapping[str, Any], path: str, value: Any, new_table: Any = dict) -> None:
    """Set a key such as `service.entry`. `new_table` makes a missing table. Raises Refused for a value in its way."""
    *tables, key = path.split(".")
    for name in tables:
        inner = table.setdefault(name, new_table())
        if not isinstance(inner, MutableMapping):
            raise Refused([f"{path}: {name} is a value, not a table"])
        table = inner
    table[key] = value


def parse_change(change: str) -> tuple[str, Any]:
    """Return key and value of KEY=VALUE. A value is TOML, other text is a string. Raises Refused."""
    path, equals, text = change.partition("=")
    path = path.strip()
    if not equals:
        raise Refused([f"{change!r} is not KEY=VALUE, such as health.deadline=60"])
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return path, text
