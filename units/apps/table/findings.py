"""The table of an app's file from a plan: what was found, and what a person sets over it."""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from hookd.model.plan import Finding, Plan
from units.apps.table.keys import has_key, set_key

# The page of the health check, which becomes a part of `health.url`.
PAGE: Final = "health.page"
_DEFAULT_PAGE: Final = "/healthz"


def page_of(plan: Plan) -> str:
    """Return the page for health checks."""
    return next((str(finding.value) for finding in plan.findings if finding.key == PAGE), _DEFAULT_PAGE)


def with_findings(table: Mapping[str, Any], findings: Iterable[Finding], *, page: str | None = None) -> dict[str, Any]:
    """Return a table with the findings whose keys are free in it, also with those inside of a found table.

    Those of the health check go with its found page, and `page` is the one that a person chose.
    """
    result: dict[str, Any] = {key: _copied(value) for key, value in table.items()}
    for finding in findings:
        is_other_page = page is not None and is_of_health(finding)
        if finding.key != PAGE and not is_other_page:
            _fill(result, finding)
    return result


def is_of_health(finding: Finding) -> bool:
    """Return True for the health check's page, and for what is known of that page."""
    return finding.key.startswith("health.")


def _fill(table: dict[str, Any], finding: Finding) -> None:
    """Set a finding where its key is free. A person may have set keys of a found table, or an empty table for none."""
    if not has_key(table, finding.key):
        set_key(table, finding.key, finding.value)
        return
    chosen: Any = table
    for name in finding.key.split("."):
        chosen = chosen.get(name) if isinstance(chosen, Mapping) else None
    if chosen and isinstance(chosen, MutableMapping) and isinstance(finding.value, Mapping):
        for name, inner in finding.value.items():
            chosen.setdefault(name, inner)


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value
