"""Parses the output of `nginx -T`: its files and the server names of all sites."""

import re
from pathlib import Path, PurePath
from typing import Final

# A comment, or a word or an end of a directive in one of four groups. The end is group 3.
TOKEN: Final = re.compile(
    r"""#[^\n]*|"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([{};])|((?:\\.|\$\{[^}]*\}|[^\s{};"'\\])+)""", re.DOTALL
)
_FILE: Final = re.compile(r"^# configuration file (.+):$", re.MULTILINE)


def config_files(text: str) -> list[Path]:
    """Return the configuration files in the output."""
    return [Path(name) for name in dict.fromkeys(_FILE.findall(text))]


def server_names(text: str, without: str | None = None) -> set[str]:
    """Return the names of all sites in the output, but for those in the file `without`."""
    start, *parts = _FILE.split(text)
    files = zip(parts[::2], parts[1::2], strict=True)
    contents = [start, *(content for path, content in files if PurePath(path).name != without)]
    directives = (words for content in contents for words in _directives(content))
    return {name for first, *names in directives if first == "server_name" for name in names}


def _directives(text: str) -> list[list[str]]:
    """Return the words of each directive, also of those inside blocks."""
    found: list[list[str]] = [[]]
    for token in TOKEN.finditer(text):
        if token[3]:
            found.append([])
        elif not token[0].startswith("#"):
            found[-1].append(next((part for part in token.groups() if part is not None), ""))
    return [words for words in found[:-1] if words]
