"""Makes values safe where a template puts them: none of them can end its line, or begin a directive of its own."""

import re
from pathlib import Path
from typing import Final

from units.errors import Refused

# No blanks, quotes, backslashes, dollar or glob signs: systemd, nginx, sudo and logrotate each read those differently.
_PATH: Final = re.compile(r"/[A-Za-z0-9._/@+~%-]*")
_WORD: Final = re.compile(r"[A-Za-z0-9._:()@-]+")
_PRINTABLE: Final = re.compile(r"[ -~]*")


def plain(path: Path | str) -> str:
    """A path as it is; raises Refused when a file of the host could read it as more than a path."""
    text = str(path)
    if _PATH.fullmatch(text) is None:
        raise Refused(
            [f"{text!r} cannot stand in a file of the host: a path there is made of letters, digits and . _ - + @ ~ %"]
        )
    return text


def in_unit(path: Path | str) -> str:
    """A path for a unit, where systemd would expand what follows a per cent sign."""
    return plain(path).replace("%", "%%")


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
    return re.escape(plain(path))
