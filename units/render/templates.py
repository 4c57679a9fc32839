"""Renders templates. A missing value is an error, and each value passes a filter for its place."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from units.system import layout
from units.system.errors import Refused


def render(template: str, **values: Any) -> str:
    """Render one template. Raises Refused for a value that is unsafe in its place."""
    return _environment().get_template(template).render(layout=layout, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - No HTML. Each value passes a filter.
    )
    environment.filters |= {
        "plain": plain_path,
        "inside": _inside_path,
        "path": unit_path,
        "word": word,
        "quoted": quoted,
        "argument": argument,
        "pattern": pattern,
        "schedule": schedule,
    }
    return environment


# systemd, nginx, sudo and logrotate read blanks, quotes, backslashes, dollar and glob signs differently.
_PATH: Final = re.compile(r"/[A-Za-z0-9._/@+~%-]*")
_WORD: Final = re.compile(r"[A-Za-z0-9._:()@-]+")
_SCHEDULE: Final = re.compile(r"[A-Za-z0-9*/,.:~ _+-]+")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_CONTROL: Final = re.compile(r"[\x01-\x1f\x7f]")


def plain_path(path: Path | str) -> str:
    """Return a path. Raises Refused if a program could read more than a path."""
    text = str(path)
    if _PATH.fullmatch(text) is None:
        raise Refused(
            [f"{text!r} is unsafe in a file of the host: paths are made of letters, digits and . _ - + @ ~ %"]
        )
    return text


def _inside_path(path: str) -> str:
    """Return a relative path. Raises Refused if a program could read more than a path."""
    return plain_path(f"/{path}").removeprefix("/")


def unit_path(path: Path | str) -> str:
    """Return a path for a unit, with systemd's per cent signs escaped."""
    return plain_path(path).replace("%", "%%")


def word(text: str) -> str:
    """Return one word of a unit's command line. Raises Refused for anything else."""
    if _WORD.fullmatch(text) is None:
        raise Refused([f"{text!r} is unsafe in a unit's command line"])
    return text


def schedule(text: str) -> str:
    """Return a calendar time. Raises Refused for anything else."""
    if _SCHEDULE.fullmatch(text) is None:
        raise Refused([f"{text!r} is unsafe in a timer"])
    return text


def quoted(text: str) -> str:
    """Quote one NAME=value of `Environment=`. Raises Refused for signs that are not printable."""
    if _PRINTABLE.fullmatch(text) is None:
        raise Refused([f"{text!r} is unsafe in a unit: it is not printable ASCII"])
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def argument(text: str) -> str:
    """Quote one argument of a unit's command line, with its dollars and per cent signs, systemd.service(5)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return '"' + _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", escaped) + '"'


def circus_word(text: str) -> str:
    """Quote one word of a command in circus.ini, in which `$(…)`, `((…))` and `$WID` name values of circus.

    Raises Refused for control characters.
    """
    if _CONTROL.search(text):
        raise Refused([f"{text!r} is unsafe in circus.ini: it has a control character"])
    quoted_text = text.replace("'", "'\"'\"'").replace("$", "$''").replace("(", "(''")
    return f"'{quoted_text}'"


def pattern(path: Path | str) -> str:
    """Return a path as a regular expression."""
    return re.escape(plain_path(path))
