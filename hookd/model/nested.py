"""Values inside of parsed TOML and JSON, whose shape nobody has checked."""

from typing import Any


def table(found: Any, *keys: str) -> dict[str, Any]:
    """Return a table inside of nested tables, empty if it is missing or no table."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def texts(found: Any) -> list[str]:
    """Return the texts of a list, and nothing for another value."""
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []
