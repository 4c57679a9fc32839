"""Installed packages are pinned by hash, fit the project's ranges, and name no index."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.processes import PROJECT

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT_TABLE["optional-dependencies"]
SERVER, LOCAL, TESTS = "units/requirements.txt", "units/requirements-local.txt", "tests/requirements.txt"
ASKED = {
    SERVER: PROJECT_TABLE["dependencies"],
    LOCAL: PROJECT_TABLE["dependencies"] + EXTRAS["local"],
    TESTS: PROJECT_TABLE["dependencies"] + EXTRAS["local"] + EXTRAS["dev"],
}


def pinned(lock: str) -> dict[str, Version]:
    text = (PROJECT / lock).read_text()
    return {name: Version(version) for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.threat(76)
@pytest.mark.parametrize("lock", ASKED)
def test_unacceptable_pins(lock: str) -> None:
    pins = pinned(lock)
    for text in ASKED[lock]:
        requirement = Requirement(text)
        assert pins[requirement.name.lower()] in requirement.specifier, text


@pytest.mark.threat(76)
@pytest.mark.parametrize("lock", ASKED)
def test_pins_need_hashes(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    for block in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in block, block
    assert "://" not in text


@pytest.mark.threat(76)
def test_tested_versions_are_installed_versions() -> None:
    tested, local = pinned(TESTS), pinned(LOCAL)
    assert {name: tested[name] for name in local} == local
    server = pinned(SERVER)
    assert {name: local[name] for name in server} == server


def test_servers_install_no_circus() -> None:
    assert pinned(LOCAL).keys() - pinned(SERVER).keys() == {"circus", "psutil", "pyzmq", "tornado"}


def test_dependencies_are_documented() -> None:
    page = (PROJECT / "docs" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([A-Za-z0-9, -]+) \|", page, re.MULTILINE)
    told = {name.lower() for row in rows for name in row.split(", ")}
    assert told == {Requirement(text).name.lower() for text in ASKED[TESTS]} | {"package"}
