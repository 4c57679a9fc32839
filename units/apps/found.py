"""The table of an app's file from a plan: what was found, and what a person sets over it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hookd.model.plan import Finding, Plan
from units.apps.keys import has_key, set_key

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
