"""Renders the properties of the unit in which a person's command runs, from the templates of the app's own units."""

import re
from pathlib import Path
from typing import Final

from hookd.model.app import App
from units.render.app import sandbox_values
from units.render.templates import render

_DIRECTIVE: Final = re.compile(r"[A-Z][A-Za-z]*=.*[^\\]|[A-Z][A-Za-z]*=")
_SPECIFIER: Final = re.compile(r"%[A-Za-z]")


def run_properties(app: App, release: Path, seconds: int) -> tuple[str, ...]:
    """Return the properties of a command in a release, as NAME=value. Raises Refused for an unsafe value."""
    return parse_directives(render("app/run.conf", app=app, home=release, seconds=seconds, **sandbox_values(app)))


def parse_directives(text: str) -> tuple[str, ...]:
    """Return the directives of a unit as systemd-run takes them, which expands no per cent signs.

    Raises ValueError for a line that is more than a directive with its value.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", ";"))]
    for line in lines:
        if _DIRECTIVE.fullmatch(line) is None or _SPECIFIER.search(line.replace("%%", "")):
            raise ValueError(f"no property for systemd-run: {line}")
    return tuple(line.replace("%%", "%") for line in lines)
