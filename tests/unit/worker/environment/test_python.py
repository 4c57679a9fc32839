"""The versions of Python that a commit asks for, and their comparison."""

from pathlib import Path

import pytest

from tests.support.releases import release
from worker.environment.python import fits, from_project, from_specifier, from_version_files


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        (">=3.11", ">=3.11"),
        (">=3.11, <4, !=3.12.1", ">=3.11,<4,!=3.12.1"),
        ("^3.11", ">=3.11,<4"),
        ("~3.11", ">=3.11,<3.12"),
        ("~=3.11", "~=3.11"),
        ("3.12", "==3.12.*"),
        ("3.12.*", "==3.12.*"),
        ("==3.12.4", "==3.12.4"),
    ],
)
def test_version_specifiers(text: str, spec: str) -> None:
    assert [wanted.spec for wanted in from_specifier(text, "x")] == [spec]


@pytest.mark.parametrize("text", [None, "", "*", 3, "^3.8 || ^3.11", "nonsense"])
def test_specifiers_without_meaning(text: object) -> None:
    assert from_specifier(text, "x") == []


@pytest.mark.parametrize(
    ("spec", "yes", "no"),
    [
        (">=3.11", "3.11.0 3.12.1 4.0", "3.10.13 2.7"),
        (">=3.11.4,<3.13", "3.11.4 3.12.9", "3.11.3 3.13.0"),
        ("==3.12.*", "3.12.0 3.12.9", "3.11.2 3.13.0"),
        ("==3.12", "3.12.0", "3.12.1"),
        ("!=3.12.*", "3.11.2", "3.12.1"),
        ("!=3.12.1", "3.12.2", "3.12.1"),
        ("~=3.11", "3.11.2 3.14.0", "3.10.1 4.0"),
        ("~=3.11.2", "3.11.2 3.11.9", "3.12.0 3.11.1"),
        (">3.11,<=3.12.1", "3.11.1 3.12.1", "3.11 3.12.2"),
        ("pypy3.10", "", "3.10.1"),
    ],
)
def test_versions_that_fit(spec: str, yes: str, no: str) -> None:
    assert all(fits(version, spec) for version in yes.split())
    assert not any(fits(version, spec) for version in no.split())


@pytest.mark.parametrize(
    ("name", "text", "spec", "is_pinned"),
    [
        (".python-version", "3.12\n", "==3.12.*", True),
        (".python-version", "# mine\n3.12.4\n3.11\n", "==3.12.*", True),
        (".python-version", "cpython@3.13", "==3.13.*", True),
        (".python-version", ">=3.11,<3.13", ">=3.11,<3.13", False),
        (".python-version", "pypy3.10", "pypy3.10", True),
        ("runtime.txt", "python-3.9.18", "==3.9.*", True),
    ],
)
def test_version_files(tmp_path: Path, name: str, text: str, spec: str, is_pinned: bool) -> None:
    release(tmp_path, {name: text})
    [found] = from_version_files([tmp_path / "none", tmp_path])
    assert (found.spec, found.place, found.is_pinned) == (spec, name, is_pinned)


def test_both_tables_of_a_project() -> None:
    project = {"project": {"requires-python": ">=3.9"}, "tool": {"poetry": {"dependencies": {"python": "^3.11"}}}}
    assert [wanted.spec for wanted in from_project(project)] == [">=3.9", ">=3.11,<4"]
