"""Reads an app's table as far as it can be read: what is wrong is named and left out, so the rest can be judged."""

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
# What stands in for a required value that is wrong; nothing on any host is called so.
_NAME: Final = "unnamed"
_REQUIRED: Final = {
    "repository": "https://host.invalid/owner/name",
    "full_name": "owner/name",
    "root": "/nonexistent/app",
}


@dataclass(frozen=True)
class ParsedTable:
    """An app's table as it was read: `app` lacks what is wrong; `wrong` are the first words of those keys."""

    app: App
    problems: tuple[str, ...]
    wrong: frozenset[str]

    def is_valid(self, *keys: str) -> bool:
        """Tell whether nothing is wrong with these values."""
        return not self.wrong.intersection(keys)


def parse_app(name: str, table: Mapping[str, Any]) -> App:
    """Read an app's table; raises Refused with all its problems."""
    reading = parse_table(name, table)
    if reading.problems:
        raise Refused(list(reading.problems))
    return reading.app


def parse_table(name: str, table: Mapping[str, Any]) -> ParsedTable:
    """Read an app's table, or as much of it as there is to be read; raises Refused when that is not even an app."""
    problems: list[str] = []
    wrong: set[str] = set()
    rest = dict(table)
    if not is_app(name):
        problems.append(
            f"{name!r} cannot name an app; wanted: a-z, 0-9 and -, a letter first, at most 32 (such as shop)"
        )
        wrong.add("name")
    if rest.pop("name", None) is not None:
        problems.append(f"name: not here, since the file's own name says it: {layout.app_file(name)}")
    while True:
        try:
            app = App.model_validate({**rest, "name": _NAME if "name" in wrong else name})
            return ParsedTable(app, tuple(problems), frozenset(wrong))
        except ValidationError as error:
            found = [item["loc"] for item in error.errors()]
            # A comparison of two values says nothing when one of them stands in for what was wrong.
            if any(found) or not wrong & {"service", "health"}:
                problems += map(str, from_validation(name, error))
        wrong |= {str(location[0]) if location else "health" for location in found}
        mended = _without_errors(rest, found, wrong)
        if mended == rest:
            raise Refused(problems)
        rest = mended


def _without_errors(table: dict[str, Any], locations: list[Location], wrong: set[str]) -> dict[str, Any]:
    """The table without what stands at these places, and with stand-ins for what is required."""
    for location in locations:
        table = _without(table, location)
    missing = {key: value for key, value in _REQUIRED.items() if key not in table}
    return {**table, **missing, **({"health": _health(table)} if "health" in wrong else {})}


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
    """A page that fits the handover, instead of one that is wrong."""
    service = table.get("service")
    by_turns = isinstance(service, Mapping) and service.get("handover") == "blue-green"
    return {"url": f"unix:{layout.SOCKETS}/{_NAME}{'-{colour}' if by_turns else ''}.sock:/"}
