"""Each row of the page on threats has code and a test, and each promise is in the README or a guide."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.processes import PROJECT

THREATS: Final = (PROJECT / "docs" / "threats.md").read_text()
PROMISES: Final = (PROJECT / "tests" / "data" / "promises.txt").read_text()
PAGES: Final = [PROJECT / "README.md", *(page for page in (PROJECT / "docs").glob("*.md") if page.stem != "threats")]
GUIDES: Final = " ".join(" ".join(page.read_text() for page in PAGES).split())
# The section of the README that has links and no promise.
WITHOUT_PROMISE: Final = {"Read on"}
# The number of rows at the beginning, which only grows.
MIN_ROWS: Final = 35

# The table of the fault tests' results.
FIGURES: Final = [
    line
    for line in THREATS.partition("## The fault tests in figures")[2].partition("\n## ")[0].splitlines()
    if line.startswith("|")
]


@dataclass(frozen=True)
class Row:
    """A threat with its defence, or a promise."""

    number: int
    about: str
    defence: str = ""


def rows() -> list[Row]:
    """Read every threat or fault."""
    found = re.findall(r"^\| (\d+) \| (.+?) \| (.*?) \|$", THREATS, re.MULTILINE)
    return [Row(int(number), about, defence) for number, about, defence in found]


def promises() -> list[Row]:
    """Read every promise of the README and the guides."""
    return [Row(int(number), promise) for number, promise in re.findall(r"^(\d+)\. (.+)$", PROMISES, re.MULTILINE)]


def marked(marker: str) -> set[int]:
    """Collect the rows that tests carry in a marker."""
    files = (PROJECT / "tests").rglob("test_*.py")
    return {row for file in files for row in rows_in(file.read_text(), marker)}


def rows_in(text: str, marker: str) -> Iterator[int]:
    """Read the rows in the decorators of a file's tests, which are not imported."""
    for test in ast.walk(ast.parse(text)):
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            for call in test.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == f"pytest.mark.{marker}":
                    yield from map(ast.literal_eval, call.args)


def test_rows_are_numbered_in_order() -> None:
    assert len(rows()) >= MIN_ROWS
    for table in (rows(), promises()):
        assert [row.number for row in table] == list(range(1, len(table) + 1))


def test_each_line_is_read() -> None:
    lines = [line for line in THREATS.splitlines() if line.startswith("|") and line not in FIGURES]
    heads = [line for line in lines if line.startswith(("| # |", "|---"))]
    assert len(lines) - len(heads) == len(rows())
    assert len(PROMISES.splitlines()) == len(promises())


def test_figures_add_up() -> None:
    numbers = [[int(re.sub(r"\D", "", cell) or 0) for cell in line.split("|")[2:-1]] for line in FIGURES[2:]]
    *faults, total = numbers
    assert len(faults) >= 10
    assert [sum(column) for column in zip(*faults, strict=True)] == total


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row.number))
def test_each_threat_has_code(row: Row) -> None:
    paths = re.findall(r"`([a-z][\w.@-]*(?:/[\w.@-]+)+|docker-compose\.yml)`", row.defence)
    assert paths, "name a file"
    assert [path for path in paths if not (PROJECT / path).exists()] == []


@pytest.mark.parametrize(("marker", "table"), [("threat", rows()), ("promise", promises())])
def test_each_row_has_a_test(marker: str, table: list[Row]) -> None:
    assert marked(marker) == {row.number for row in table}


@pytest.mark.parametrize("row", promises(), ids=lambda row: row.about[:40])
def test_each_promise_is_in_a_guide(row: Row) -> None:
    assert row.about in GUIDES, "use the words of the README or a guide"


def test_each_readme_section_is_tested() -> None:
    titles_and_texts = ["hookd", *re.split(r"^##+ (.+)$", (PROJECT / "README.md").read_text(), flags=re.MULTILINE)]
    sections = dict(zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True))
    tested = {
        title for title, text in sections.items() if any(row.about in " ".join(text.split()) for row in promises())
    }
    assert sections.keys() - tested - WITHOUT_PROMISE == set()


def test_only_markers_of_tests_count() -> None:
    text = "@pytest.mark.threat({})\ndef {}(): ...\n"
    code = text.format("1, 2", "test_one") + text.format("3", "helper") + "# @pytest.mark.threat(4)\n"
    assert list(rows_in(code, "threat")) == [1, 2]
    assert list(rows_in(code, "promise")) == []
