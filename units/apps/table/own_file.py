"""An app's file: its text, and the values that other options and hookd's choices add to a person's own (`--from`)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tomlkit

from units.system import layout
from units.system.errors import Refused


def file_text(header: str, table: Mapping[str, Any]) -> str:
    """Return the text of an app's file, whose first line is the header."""
    document = tomlkit.document()
    document.add(tomlkit.comment(header))
    for key, value in table.items():
        document.add(key, value)
    return tomlkit.dumps(document)


def add_user(table: Mapping[str, Any], user: str | None, choose: Callable[[], str]) -> dict[str, Any]:
    """Add the user of `--user`, or the one that hookd chooses for its own units. Raises Refused for two users."""
    ownership = _section(table, "ownership")
    named = ownership.get("user")
    if named is not None and user not in (None, named):
        raise Refused([f"--user is {user}, but ownership.user in the file is {named}"])
    if named is None and user is None and _section(table, "service").get("units") == "hookd":
        user = choose()
    if named is not None or user in (None, layout.WEB):
        return dict(table)
    return {**table, "ownership": {**ownership, "user": user}}


def require_shared_files(table: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise Refused for a `--file` that no release would get."""
    listed = _section(table, "shared").get("files", ())
    if missing := [name for name in names if name not in listed]:
        raise Refused([f"--file {name}: shared.files in the file does not name it" for name in missing])


def _section(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of the file. One of the wrong type is reported when the file is parsed."""
    section = table.get(name, {})
    return section if isinstance(section, Mapping) else {}
