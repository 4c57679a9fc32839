"""Variables of a project's unit, merged into one file for its releases and builds.

systemd reads this file as root, so it must not stay in a directory that the worker's user can write to.
"""

import io
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from units.adopt.discovery.gunicorn_options import OPTIONS_VARIABLE

# These name the old environment and the old code. hookd's drop-in sets PATH and clears the others.
REPLACED_VARIABLES: Final = ("PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
_REPLACED_LINE: Final = re.compile(rf"^\s*(?:export\s+)?(?:{'|'.join(REPLACED_VARIABLES)})\s*=.*\n?", re.MULTILINE)
_HEADER: Final = """# Variables of {name}, one NAME=value per line, for service and builds; copied from {sources}.
# After a change: sudo hookd restart {name}
"""


def merge_variables(pairs: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """Return a service's variables: its unit's own, overridden by its files."""
    found = dict(pair.split("=", 1) for pair in pairs)
    for text in texts:
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        found |= {name: value for name, value in values.items() if value is not None}
    return found


def environment_text(
    name: str, unit: str, pairs: Iterable[str], texts: Mapping[Path, str], arguments: Iterable[str]
) -> str:
    """Return the new file: the unit's own variables, the text of each old file, and gunicorn's options."""
    own = merge_variables(pairs, ())
    lines = [format_variable(key, value) for key, value in own.items() if key not in REPLACED_VARIABLES]
    parts = [_HEADER.format(name=name, sources=", ".join([unit, *map(str, texts)])), *lines]
    for path, text in texts.items():
        parts.append(f"\n# From {path}\n{_REPLACED_LINE.sub('', text).rstrip()}\n")
    if options := shlex.join(arguments):
        parts.append("\n# gunicorn's old options; workers and threads are in the app's file.\n")
        parts.append(format_variable(OPTIONS_VARIABLE, options))
    return "".join(parts)


def format_variable(name: str, value: str) -> str:
    """Return a line that systemd and the worker parse alike."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"\n'


def python_path(value: str, root: Path, directory: Path) -> str | None:
    """Return PYTHONPATH as gunicorn's option, with paths of the project relative to the release."""
    parts = [relative_to_root(part, root, directory) for part in value.split(":") if part]
    return ",".join(part for part in parts if part != ".") or None


def relative_to_root(path: str, root: Path, directory: Path) -> str:
    """Return a path of the project relative to its root, and any other path unchanged."""
    whole = directory / path
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else path
