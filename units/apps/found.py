"""The table of an app's file from a plan: what was found, and what a person sets over it."""

import tomllib
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from units.finders.plan import Finding, Plan
from units.system.errors import Refused

# The page of the health check, which becomes a part of `health.url`.
PAGE: Final = "health.page"
_DEFAULT_PAGE: Final = "/healthz"


def page_of(plan: Plan) -> str:
    """Return the page for health checks."""
    return next((str(finding.value) for finding in plan.findings if finding.key == PAGE), _DEFAULT_PAGE)


def with_findings(table: Mapping[str, Any], findings: Iterable[Finding], *, page: str | None = None) -> dict[str, Any]:
    """Return a table with the findings whose keys are free in it. Those of the health check go with its found page.

    `page` is the one that a person chose.
    """
    result: dict[str, Any] = {key: _copied(value) for key, value in table.items()}
    for finding in findings:
        is_other_page = page is not None and finding.key.startswith("health.")
        if finding.key != PAGE and not is_other_page and not has_key(result, finding.key):
            set_key(result, finding.key, finding.value)
    return result


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


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
    if not equals:
        raise Refused([f"{change!r} is not KEY=VALUE, such as health.deadline=60"])
    try:
        return path, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return path, text
