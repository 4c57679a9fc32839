"""Rules of PEP 440 and of Poetry are read, and versions compared."""

import pytest

from hookd.model.python_version import fits, fitting_minors, pinned_minor, to_specifier


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
        (">=3.9 <3.12", ">=3.9,<3.12"),
        (">= 3.9.*", ">=3.9"),
    ],
)
def test_version_specifiers(text: str, spec: str) -> None:
    assert to_specifier(text) == spec


@pytest.mark.parametrize("text", ["", "*", "^3.8 || ^3.11", "nonsense", "~=3", "===/bin/sh"])
def test_specifiers_without_meaning(text: str) -> None:
    assert to_specifier(text) is None


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
        (">=3.14", "3.14.0 3.15.0rc1", "3.14.0rc1"),
        ("pypy3.10", "", "3.10.1"),
    ],
)
def test_versions_that_fit(spec: str, yes: str, no: str) -> None:
    assert all(fits(version, spec) for version in yes.split())
    assert not any(fits(version, spec) for version in no.split())


@pytest.mark.parametrize(
    ("rule", "lowest", "highest"),
    [(">=3.9,<3.12", 9, 11), ("^3.9", 9, 29), ("~3.9", 9, 9), ("~=3.8", 8, 29), ("~=3.8.1", 8, 8), ("==3.10.*", 10, 10),
     (">3.7", 8, 29), ("<3.12.0", 6, 11), (">= 3.10", 10, 29), (">=3", 6, 29), ("3.11.*", 11, 11),
     (">=3.9 <3.11", 9, 10), ("^3.8 || ^3.11", 8, 29), ("~3.8 || ~3.9", 8, 9), (">=3.9.5,<3.10", 9, 9),
     ("!=3.6,<3.8", 7, 7)],
)  # fmt: skip
def test_rules_of_versions_are_read(rule: str, lowest: int, highest: int) -> None:
    assert fitting_minors(rule) == frozenset(range(lowest, highest + 1))


@pytest.mark.parametrize(
    ("text", "minor"),
    [("3.12\n", "3.12"), ("python-3.9.18", "3.9"), ("cpython@3.13", "3.13"), ("3.14-dev", "3.14"), ("pypy3.10", None),
     ("2.7.18", None), ("3", None)],
)  # fmt: skip
def test_pins_name_a_minor_version(text: str, minor: str | None) -> None:
    assert pinned_minor(text) == minor


def test_long_rules_are_not_read() -> None:
    rule = ",".join(f"!=3.{minor}.{patch}" for minor in range(30) for patch in range(1000))
    assert to_specifier(rule) is None
    assert fitting_minors(rule) == frozenset()
