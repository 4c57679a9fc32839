"""The page on threats names code and tests that are there, and promises only what the README says."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import pytest

from tests.support.processes import PROJECT

TEXT: Final = (PROJECT / "docs" / "threats.md").read_text()
README: Final = " ".join((PROJECT / "README.md").read_text().split())
# Parts of the README that hold no promise of their own: links, and tables that test_readme.py compares.
SILENT: Final = {"More", "hookd.toml", "apps/APP.toml"}
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
    """One row of the page: what it is about, what stands against it, and its tests."""

    number: int
    about: str
    defence: str
    tests: tuple[str, ...]


def rows() -> list[Row]:
    """Every threat or fault."""
    found = re.findall(r"^\| (\d+) \| (.+?) \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)
    return [Row(int(number), about, defence, _named(tests)) for number, about, defence, tests in found]


def promises() -> list[Row]:
    """Every promise of the README."""
    _, _, table = TEXT.partition("## What the README promises")
    found = re.findall(r"^\| (.+?) \| (`.*?) \|$", table, re.MULTILINE)
    return [Row(number, promise, "", _named(tests)) for number, (promise, tests) in enumerate(found, 1)]


def _named(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


@cache
def names_in(file: str) -> set[str]:
    """The names of a file's tests; one with parameters is there once."""
    tree = ast.parse((PROJECT / "tests" / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_a_number_that_is_left_out_or_used_twice() -> None:
    numbers = [row.number for row in rows()]
    assert len(numbers) >= FIRST
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_row_that_cannot_be_read() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("|") and line not in FIGURES]
    heads = [line for line in lines if line.startswith(("| # |", "| promise |", "|---"))]
    assert len(lines) - len(heads) == len(rows()) + len(promises())


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


@pytest.mark.parametrize("row", [*rows(), *promises()], ids=lambda row: row.about[:40])
def test_a_row_whose_test_does_not_exist(row: Row) -> None:
    assert row.tests, "name a test"
    assert len(set(row.tests)) == len(row.tests)
    for named in row.tests:
        file, _, name = named.partition("::")
        assert name in names_in(file), f"{file} has no {name}"


@pytest.mark.parametrize("row", promises(), ids=lambda row: row.about[:40])
def test_a_promise_that_the_readme_does_not_make(row: Row) -> None:
    assert row.about in README, "say it in the README's own words"


def test_a_part_of_the_readme_of_whose_promises_no_test_is_named() -> None:
    parts = ["hookd", *re.split(r"^##+ (.+)$", (PROJECT / "README.md").read_text(), flags=re.MULTILINE)]
    told = {title: " ".join(text.split()) for title, text in zip(parts[::2], parts[1::2], strict=True)}
    kept = {title for title, text in told.items() if any(row.about in text for row in promises())}
    assert set(told) - kept - SILENT == set()


def test_a_test_of_a_file_is_found_by_its_name() -> None:
    assert "test_a_test_of_a_file_is_found_by_its_name" in names_in("unit/project/test_threats.py")
