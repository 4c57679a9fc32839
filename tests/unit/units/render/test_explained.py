"""Comments in the files of a host: what each file is, and why a group of lines deviates from the default."""

import re
from collections.abc import Iterator

import pytest

from tests.support.rendered import APPS, HOSTS, files
from units.changes.change import File
from units.render.templates import render

RENDERED = [
    pytest.param(file, id=f"{name}:{path}") for name, host in HOSTS.items() for path, file in files(host, *APPS).items()
]
# Every administrator knows these keys. All others need a comment above them, or above their group.
KNOWN = frozenset(
    "Description Documentation After Wants Requires Type ExecStart Environment EnvironmentFile WorkingDirectory"
    " User Group Restart RestartSec Nice WantedBy SyslogIdentifier LoadCredential ProtectHome"
    " listen server_name server_tokens server location proxy_pass proxy_read_timeout limit_except deny return root"
    " default_type enabled filter backend port journalmatch abi include profile"
    " su daily minage rotate missingok ifempty nocreate maxsize compress delaycompress notifempty".split()
)


def unexplained(text: str) -> Iterator[str]:
    """Return the lines that need a comment and have none. A blank line, a section and a bracket end a group."""
    explained = False
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("#"):
            explained = True
        elif not line or line == "}" or (line.startswith("[") and line.endswith("]")):
            explained = False
        else:
            if not explained and not is_known(line):
                yield line
            explained = explained and not line.endswith("{")


def is_known(line: str) -> bool:
    """Return True if a line needs no comment: a known key, or the pattern that opens a block."""
    return line.startswith('"') or re.split("[= ]", line, maxsplit=1)[0].rstrip(";,") in KNOWN


@pytest.mark.parametrize("file", RENDERED)
def test_deviating_lines_are_explained(file: File) -> None:
    assert not list(unexplained(file.text))


def test_comments_stand_above_groups() -> None:
    """Counted over all files. A comment above each line would repeat the line."""
    lines = [line.strip() for param in RENDERED for line in param.values[0].text.splitlines()]  # type: ignore[union-attr]
    comments = sum(line.startswith("#") for line in lines)
    assert comments * 2 < sum(bool(line) and not line.startswith("#") for line in lines)


@pytest.mark.parametrize("file", RENDERED)
def test_first_line_names_the_file(file: File) -> None:
    assert file.text.startswith("# ")
    assert file.text.endswith("\n")
    assert not file.text.endswith("\n\n")
    assert "\n\n\n" not in file.text


@pytest.mark.parametrize("file", RENDERED)
def test_comments_fit_a_terminal(file: File) -> None:
    assert not [line for line in file.text.splitlines() if line.startswith("#") and len(line) > 130]


def test_an_unexplained_line_is_found() -> None:
    assert list(unexplained("# About it.\n[Unit]\nA=b\n")) == ["A=b"]
    assert list(unexplained("# It.\nserver {\n    listen 80;\n    gzip on;\n}\n")) == ["gzip on;"]
    assert not list(unexplained("[Unit]\nDescription=It\n# Both.\nA=b\nC=d\n"))


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("systemd/hookd-redis.service")
