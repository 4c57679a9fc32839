"""Parses an app's table as far as possible, so that one pass finds all problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from hookd.model.app import App
from hookd.model.config_errors import from_validation
from hookd.model.ids import is_app
from units.system import layout
from units.system.errors import Refused

Location = tuple[int | str, ...]
# Placeholders for invalid required values. No host has these names.
_NAME: Final = "unnamed"
_REQUIRED: Final = {
    "repository": "https://host.invalid/owner/name",
    "full_name": "owner/name",
    "root": "/nonexistent/app",
}


@dataclass(frozen=True)
class ParsedTable:
    """A parsed table. `app` has placeholders or defaults for the `invalid` keys, named by their first word."""

    app: App
    problems: tuple[str, ...]
    invalid: frozenset[str]

    def is_valid(self, *keys: str) -> bool:
        """Return True if all these values are valid."""
        return not self.invalid.intersection(keys)


def parse_app(name: str, table: Mapping[str, Any]) -> App:
    """Parse a valid table. Raises Refused with all problems."""
    parsed = parse_table(name, table)
    if parsed.problems:
        raise Refused(list(parsed.problems))
    return parsed.app


def parse_table(name: str, table: Mapping[str, Any]) -> ParsedTable:
    """Parse a table without its invalid values. Raises Refused if the rest is no app."""
    problems: list[str] = []
    invalid: set[str] = set()
    rest = dict(table)
    if not is_app(name):
        problems.append(
            f"{name!r} cannot name an app; wanted: a-z, 0-9 and -, a letter first, at most 32 (such as shop)"
        )
        invalid.add("name")
    if rest.pop("name", None) is not None:
        problems.append(f"name: belongs into the file's own name: {layout.app_file(name)}")
    while True:
        try:
            app = App.model_validate({**rest, "name": _NAME if "name" in invalid else name})
            return ParsedTable(app, tuple(problems), frozenset(invalid))
        except ValidationError as error:
            found = [item["loc"] for item in error.errors()]
            # A comparison with a placeholder means nothing.
            if any(found) or not invalid & {"service", "health"}:
                problems += map(str, from_validation(name, error))
        invalid |= {str(location[0]) if location else "health" for location in found}
        repaired = _without_errors(rest, found, invalid)
        if repaired == rest:
            raise Refused(problems)
        rest = repaired


def _without_errors(table: dict[str, Any], locations: list[Location], invalid: set[str]) -> dict[str, Any]:
    """Remove the values at these locations, and add placeholders for required ones."""
    for location in locations:
        table = _without(table, location)
    missing = {key: value for key, value in _REQUIRED.items() if key not in table}
    return {**table, **missing, **({"health": _health(table)} if "health" in invalid else {})}


def _without(table: dict[str, Any], location: Location) -> dict[str, Any]:
    if not location or location[0] not in table:
        return table
    key, below = str(location[0]), location[1:]
    inner = table[key]
    if isinstance(inner, dict) and below and below[0] in inner:
        return {**table, key: _without(inner, below)}
    is_missing = isinstance(inner, dict) and below
    return table if is_missing else {name: value for name, value in table.items() if name != key}


def _health(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a valid health page for the handover."""
    service = table.get("service")
    by_turns = isinstance(service, Mapping) and service.get("handover") == "blue-green"
    return {"url": f"unix:{layout.SOCKETS}/{_NAME}{'-{colour}' if by_turns else ''}.sock:/"}
