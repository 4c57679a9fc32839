"""Nested tables as TOML text."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Render a nested table as TOML."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    nested = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"[{prefix}]"] if prefix and plain else []
    lines += [f"{json.dumps(key)} = {json.dumps(_plain(value))}" for key, value in plain.items()]
    parts = ["\n".join(lines), *(toml(value, f"{prefix}.{key}".lstrip(".")) for key, value in nested.items())]
    return "\n".join(part for part in parts if part) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested tables. Values of `over` win."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
