"""Variables of a project's unit, merged into one file for its releases and builds.

systemd reads this file as root, so it must not stay in a directory that the worker's user can write to.
"""

import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.variables import UnusableVariables, parse, spell, without
from units.adopt.discovery.gunicorn_options import OPTIONS_VARIABLE

# These name the old environment and the old code. hookd's drop-in sets PATH and clears the others.
REPLACED_VARIABLES: Final = ("PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
_HEADER: Final = """# Variables of {name}, one NAME=value per line, for service and builds; copied from {sources}.
# After a change: sudo hookd restart {name}
"""
_OPTIONS: Final = "# gunicorn's old options; workers and threads are in the app's file.\n"


def merge_variables(pairs: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """Return a service's variables: its unit's own, overridden by its files."""
    found = dict(pair.split("=", 1) for pair in pairs)
    for text in texts:
        with suppress(UnusableVariables):  # A blocker of the adoption.
            found |= parse(text)
    return found


def environment_text(
    name: str, unit: str, pairs: Iterable[str], texts: Mapping[Path, str], arguments: Iterable[str]
) -> str:
    """Return the new file: the unit's own variables, the text of each old file, and gunicorn's options.

    A variable that a later part sets again is left out, so that each name is in one line.
    """
    set_later, parts = {*REPLACED_VARIABLES}, [""]
    if options := shlex.join(arguments):
        set_later.add(OPTIONS_VARIABLE)
        parts = [f"\n{_OPTIONS}{spell(OPTIONS_VARIABLE, options)}"]
    for path, text in reversed(list(texts.items())):
        parts.append(f"\n# From {path}\n{without(text, set_later).rstrip()}\n")
        set_later |= parse(text).keys()
    own = merge_variables(pairs, ())
    parts.append("".join(spell(key, value) for key, value in own.items() if key not in set_later))
    parts.append(_HEADER.format(name=name, sources=", ".join([unit, *map(str, texts)])))
    return "".join(reversed(parts))


def python_path(value: str, root: Path, directory: Path) -> str | None:
    """Return PYTHONPATH as gunicorn's option, with paths of the project relative to the release."""
    parts = [relative_to_root(part, root, directory) for part in value.split(":") if part]
    return ",".join(part for part in parts if part != ".") or None


def relative_to_root(path: str, root: Path, directory: Path) -> str:
    """Return a path of the project relative to its root, and any other path unchanged."""
    whole = directory / path
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else path
