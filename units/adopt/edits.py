"""A person's edits of an app's file between two runs of its adoption, which the second run keeps."""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

from units.adopt.state import Adoption
from units.system import disk, layout

# The adoption's own values: they differ between the interim unit and the project's.
_OWN: Final = frozenset({"root", "health.url", "service.name", "service.listen", "service.own_socket", "service.units"})


def with_edits(adoption: Adoption, earlier: Adoption | None) -> Adoption:
    """Return an adoption with the values that a person changed in the app's file since an `earlier` run."""
    content = disk.read(layout.app_file(adoption.name))
    if earlier is None or content is None or earlier.root != adoption.root:
        return adoption
    edits = edited_values(earlier.interim_table, tomllib.loads(content.decode()))
    return adoption.model_copy(update={"table": merge_values(adoption.table, edits)})


def edited_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a table that differ from those before, by their dotted keys."""
    old, new = _flat(before), _flat(after)
    return {key: value for key, value in new.items() if key not in _OWN and old.get(key) != value}


def merge_values(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with other values at their dotted keys."""
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            merged[section] = merge_values(merged.get(section) or {}, {name: value})
        else:
            merged[section] = value
    return merged


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
