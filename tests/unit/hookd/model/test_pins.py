"""What is installed is pinned by hash, fits what the project asks for, and names no index."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.processes import PROJECT

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
ASKED = {
    "units": PROJECT_TABLE["dependencies"],
    "tests": PROJECT_TABLE["dependencies"] + PROJECT_TABLE["optional-dependencies"]["dev"],
}


def pinned(room: str) -> dict[str, Version]:
    text = (PROJECT / room / "requirements.txt").read_text()
    return {name: Version(version) for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.threat(76)
@pytest.mark.parametrize("room", ASKED)
def test_a_pin_that_the_project_does_not_accept(room: str) -> None:
    pins = pinned(room)
    for text in ASKED[room]:
        requirement = Requirement(text)
        assert pins[requirement.name.lower()] in requirement.specifier, text


@pytest.mark.threat(76)
@pytest.mark.parametrize("room", ASKED)
def test_a_pin_without_a_hash_or_with_an_address(room: str) -> None:
    text = (PROJECT / room / "requirements.txt").read_text()
    for block in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in block, block
    assert "://" not in text


@pytest.mark.threat(76)
def test_what_runs_is_tested_in_the_same_versions() -> None:
    tested = pinned("tests")
    assert {name: tested[name] for name in pinned("units")} == pinned("units")


def test_each_dependency_says_why_it_is_there_and_none_is_named_that_is_not() -> None:
    page = (PROJECT / "docs" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([A-Za-z0-9, -]+) \|", page, re.MULTILINE)
    told = {name.lower() for row in rows for name in row.split(", ")}
    assert told == {Requirement(text).name.lower() for text in ASKED["tests"]} | {"package"}
