"""Each row of the page on threats has code and a test, and the promises are the README's own words."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.processes import PROJECT

TEXT: Final = (PROJECT / "docs" / "threats.md").read_text()
THREATS, _, PROMISES = TEXT.partition("## What hookd promises")
PAGES: Final = [PROJECT / "README.md", *(page for page in (PROJECT / "docs").glob("*.md") if page.stem != "threats")]
GUIDES: Final = " ".join(" ".join(page.read_text() for page in PAGES).split())
# Part of the README that holds links and no promise.
SILENT: Final = {"Read on"}
# The rows that were there first, numbered as in the facts that the project began with.
FIRST: Final = 35


# The table of what the fault tests have measured.
FIGURES: Final = [
    line
    for line in TEXT.partition("## Faults on purpose, in figures")[2].partition("\n## ")[0].splitlines()
    if line.startswith("|")
]


@dataclass(frozen=True)
class Row:
    """One row of the page: what it is about, and what stands against it."""

    number: int
    about: str
    defence: str = ""


def rows() -> list[Row]:
    """Every threat or fault."""
    found = re.findall(r"^\| (\d+) \| (.+?) \| (.*?) \|$", THREATS, re.MULTILINE)
    return [Row(int(number), about, defence) for number, about, defence in found]


def promises() -> list[Row]:
    """Every promise of the README and the guides."""
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


def test_a_number_that_is_left_out_or_used_twice() -> None:
    assert len(rows()) >= FIRST
    for table in (rows(), promises()):
        assert [row.number for row in table] == list(range(1, len(table) + 1))


def test_a_row_that_cannot_be_read() -> None:
    lines = [line for line in THREATS.splitlines() if line.startswith("|") and line not in FIGURES]
    heads = [line for line in lines if line.startswith(("| # |", "|---"))]
    assert len(lines) - len(heads) == len(rows())
    _, listed = PROMISES.strip().split("\n\n")
    assert len(listed.splitlines()) == len(promises())


def test_figures_that_do_not_add_up() -> None:
    numbers = [[int(re.sub(r"\D", "", cell) or 0) for cell in line.split("|")[2:-1]] for line in FIGURES[2:]]
    *parts, whole = numbers
    assert len(parts) >= 10
    assert [sum(column) for column in zip(*parts, strict=True)] == whole
    lost, double_runs, half_releases = whole[3], whole[5], whole[6]
    assert (lost, double_runs, half_releases) == (0, 0, 0)


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row.number))
def test_a_threat_without_code_that_stands_against_it(row: Row) -> None:
    paths = re.findall(r"`([a-z][\w.@-]*(?:/[\w.@-]+)+|docker-compose\.yml)`", row.defence)
    assert paths, "name a file"
    assert [path for path in paths if not (PROJECT / path).exists()] == []


@pytest.mark.parametrize(("marker", "table"), [("threat", rows()), ("promise", promises())])
def test_a_row_without_a_test_and_a_marker_without_a_row(marker: str, table: list[Row]) -> None:
    assert marked(marker) == {row.number for row in table}


@pytest.mark.parametrize("row", promises(), ids=lambda row: row.about[:40])
def test_each_promise_stands_in_a_guide(row: Row) -> None:
    assert row.about in GUIDES, "use the words of the README or a guide"


def test_a_part_of_the_readme_of_whose_promises_no_test_is_named() -> None:
    parts = ["hookd", *re.split(r"^##+ (.+)$", (PROJECT / "README.md").read_text(), flags=re.MULTILINE)]
    told = {title: " ".join(text.split()) for title, text in zip(parts[::2], parts[1::2], strict=True)}
    kept = {title for title, text in told.items() if any(row.about in text for row in promises())}
    assert set(told) - kept - SILENT == set()


def test_only_a_decorator_of_a_test_counts() -> None:
    text = "@pytest.mark.threat({})\ndef {}(): ...\n"
    told = text.format("1, 2", "test_one") + text.format("3", "helper") + "# @pytest.mark.threat(4)\n"
    assert list(rows_in(told, "threat")) == [1, 2]
    assert list(rows_in(told, "promise")) == []
