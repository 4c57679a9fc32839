"""The variables of a hand-made service, brought together into the one file that its releases and builds are given.

systemd reads that file as root, so it may not stay in a directory that the worker's user can write to.
"""

import io
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from units.adopt.discovery.gunicorn_options import OPTIONS_VARIABLE
from units.system import disk

# These lead to the old environment and the old code; the drop-in sets the first and clears the others.
REPLACED_VARIABLES: Final = ("PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
_REPLACED_LINE: Final = re.compile(rf"^\s*(?:export\s+)?(?:{'|'.join(REPLACED_VARIABLES)})\s*=.*\n?", re.MULTILINE)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_HEADER: Final = """# Variables of {name}, one NAME=value per line, for its service and its builds; from {sources}.
# These count now, not the ones there. After a change: sudo hookd restart {name}
"""


def merge_variables(pairs: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """What a service sees: its unit's own variables, then what its files say."""
    found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    for text in texts:
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        found |= {name: value for name, value in values.items() if value is not None}
    return found


def read_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The texts of a unit's files of variables; one that is not there is none, as `EnvironmentFile=-` allows."""
    found = {path: disk.read(path) for path in paths}
    return {path: content.decode(errors="replace") for path, content in found.items() if content is not None}


def environment_text(
    name: str, unit: str, pairs: Iterable[str], texts: Mapping[Path, str], arguments: Iterable[str]
) -> str:
    """The new file: the unit's own variables, each old file as it is, and gunicorn's options at the end."""
    own = [pair.split("=", 1) for pair in pairs if "=" in pair]
    lines = [format_variable(key, value) for key, value in own if key not in REPLACED_VARIABLES]
    parts = [_HEADER.format(name=name, sources=", ".join([unit, *map(str, texts)])), *lines]
    for path, text in texts.items():
        parts.append(f"\n# From {path}\n{_REPLACED_LINE.sub('', text).rstrip()}\n")
    if options := shlex.join(arguments):
        parts.append("\n# gunicorn's options, as they were; workers and threads stand in the app's file.\n")
        parts.append(format_variable(OPTIONS_VARIABLE, options))
    return "".join(parts)


def format_variable(name: str, value: str) -> str:
    """One line that systemd and the worker read alike."""
    if _PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    if "'" not in value and "\\" not in value and "\n" not in value:
        return f"{name}='{value}'\n"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"\n'


def python_path(value: str, root: Path, directory: Path) -> str | None:
    """PYTHONPATH as gunicorn's option: what lies in the project becomes relative to the release."""
    parts = [relative_to_root(part, root, directory) for part in value.split(":") if part]
    return ",".join(part for part in parts if part != ".") or None


def relative_to_root(path: str, root: Path, directory: Path) -> str:
    """A path of the project as seen from a release; one outside stays as it is."""
    whole = directory / path
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else path
