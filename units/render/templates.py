"""Fills templates: values in, text out; a value that a template names and nobody gave is an error."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from units.system import layout
from units.system.errors import Refused


def render(template: str, **values: Any) -> str:
    """Fill one template; raises Refused for a value that cannot stand where the template puts it."""
    return _environment().get_template(template).render(layout=layout, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Nothing is HTML here; each value goes through a filter of its own.
    )
    environment.filters |= {
        "plain": plain_path,
        "path": unit_path,
        "word": word,
        "quoted": quoted,
        "pattern": pattern,
    }
    return environment


# No blanks, quotes, backslashes, dollar or glob signs: systemd, nginx, sudo and logrotate each read those differently.
_PATH: Final = re.compile(r"/[A-Za-z0-9._/@+~%-]*")
_WORD: Final = re.compile(r"[A-Za-z0-9._:()@-]+")
_PRINTABLE: Final = re.compile(r"[ -~]*")


def plain_path(path: Path | str) -> str:
    """A path as it is; raises Refused when a file of the host could read it as more than a path."""
    text = str(path)
    if _PATH.fullmatch(text) is None:
        raise Refused(
            [f"{text!r} cannot stand in a file of the host: a path there is made of letters, digits and . _ - + @ ~ %"]
        )
    return text


def unit_path(path: Path | str) -> str:
    """A path for a unit, where systemd would expand what follows a per cent sign."""
    return plain_path(path).replace("%", "%%")


def word(text: str) -> str:
    """One word of a command line in a unit; raises Refused for anything else."""
    if _WORD.fullmatch(text) is None:
        raise Refused([f"{text!r} cannot stand in a unit's command line"])
    return text


def quoted(text: str) -> str:
    """One NAME=value of `Environment=`, whatever printable signs are in it; raises Refused for others."""
    if _PRINTABLE.fullmatch(text) is None:
        raise Refused([f"{text!r} cannot stand in a unit: it holds more than printable ASCII"])
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def pattern(path: Path | str) -> str:
    """A path as a regular expression that matches it alone."""
    return re.escape(plain_path(path))
