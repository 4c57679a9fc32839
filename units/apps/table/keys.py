"""Keys such as `service.entry` in an app's table, and their values as a person types them."""

import datetime
import tomllib
from collections.abc import Iterable, Mapping, MutableMapping
from functools import reduce
from operator import getitem
from typing import Any

import tomlkit

from hookd.http_probe import with_page
from hookd.model.app import App
from hookd.model.tables.spelling import takes_text
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
    """Return key and value of KEY=VALUE. Raises Refused.

    A value is TOML, and other text is a string. So is a number for a key that takes no numbers, such as a version.
    """
    path, equals, text = change.partition("=")
    path = path.strip()
    if not equals or not path:
        raise Refused([f"{change!r} is not KEY=VALUE, such as health.deadline=60"])
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return path, text
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # No key takes TOML's days and times.
    is_text = isinstance(value, datetime.date | datetime.time) or (is_number and takes_text(App, path.split(".")))
    return path, text.strip() if is_text else value


def set_keys(text: str, typed: Iterable[str], values: Mapping[str, Any] | None = None) -> str:
    """Set `values` by key, then each typed KEY=VALUE, in a TOML text. Comments and order stay.

    Raises Refused with all problems.
    """
    document: Any = tomlkit.parse(text)
    problems: list[str] = []
    for change in (*(values or {}).items(), *typed):
        try:
            path, value = parse_change(change) if isinstance(change, str) else change
            set_key(document, path, _with_address(document, path, value), tomlkit.table)
        except Refused as refused:
            problems += refused.reasons
    if problems:
        raise Refused(problems)
    return tomlkit.dumps(document)


def without_key(text: str, path: str) -> str:
    """Return a TOML text without a key such as `service.directory`, if it has it."""
    document: Any = tomlkit.parse(text)
    if has_key(document, path):
        *tables, key = path.split(".")
        reduce(getitem, tables, document).pop(key)
    return tomlkit.dumps(document)


def _with_address(document: Mapping[str, Any], path: str, value: Any) -> Any:
    """Return a value as it is, but a page alone as `health.url` with the address that the text has."""
    is_page = path == "health.url" and isinstance(value, str) and value.startswith("/")
    return with_page(document.get("health", {}).get("url", ""), value) if is_page else value
