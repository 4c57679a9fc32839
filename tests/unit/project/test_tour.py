"""The tour of the code names twelve files that a reader can finish in an evening."""

import re
from typing import Final

from tests.support.processes import PROJECT

TEXT: Final = (PROJECT / "docs" / "tour.md").read_text()
FILES: Final = [PROJECT / name for name in re.findall(r"^\d+\. `([^`]+)`:", TEXT, re.MULTILINE)]
MAX_LINES: Final = 2000


def test_twelve_files_exist() -> None:
    assert len(set(FILES)) == 12
    assert [file for file in FILES if not file.is_file()] == []


def test_the_files_are_short() -> None:
    assert sum(len(file.read_text().splitlines()) for file in FILES) <= MAX_LINES


def test_every_named_path_exists() -> None:
    """Paths with a directory count. A bare name belongs to the directory named before it."""
    named = re.findall(r"`((?:hookd|worker|units|tests|docs)/[\w./-]*)`", TEXT)
    assert len(named) > len(FILES)
    assert [name for name in named if not (PROJECT / name).exists()] == []
