"""Fills templates: values in, text out; a value that a template names and nobody gave is an error."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from units import escape, layout


def filled(template: str, **values: Any) -> str:
    """Fill one template; raises Refused for a value that cannot stand where the template puts it."""
    return _environment().get_template(template).render(layout=layout, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Nothing is HTML here; each value goes through a filter of its own.
    )
    environment.filters |= {
        "plain": escape.plain,
        "path": escape.in_unit,
        "word": escape.word,
        "quoted": escape.quoted,
        "pattern": escape.pattern,
    }
    return environment
