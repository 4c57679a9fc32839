"""poetry.lock, exported by Poetry itself from a real index."""

from pathlib import Path

import pytest

from hookd.model.hint import Hint, HintKind
from tests.support.environments import Installer, installed
from tests.support.installation import CACHE
from worker.errors import CommandFailed


def of_lock(venv: Path) -> dict[str, str]:
    """Return the packages without the setuptools that an old Python gets from the real index."""
    return {name: version for name, version in installed(venv).items() if name != "setuptools"}


PROJECT = """\
[tool.poetry]
name = "shop"
version = "0.1.0"
description = ""
authors = []

[tool.poetry.dependencies]
python = "^3.11"
packaging = "^25.0"
tomli = { version = "*", optional = true }

[tool.poetry.extras]
toml = ["tomli"]

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""
LOCK = """\
[[package]]
name = "packaging"
version = "25.0"
description = ""
optional = false
python-versions = ">=3.8"
groups = ["main"]
files = [
    {file = "packaging-25.0-py3-none-any.whl", hash = "sha256:%packaging"},
]

[[package]]
name = "tomli"
version = "2.2.1"
description = ""
optional = true
python-versions = ">=3.8"
groups = ["main"]
markers = "extra == 'toml'"
files = [
    {file = "tomli-2.2.1-py3-none-any.whl", hash = "sha256:%tomli"},
]

[extras]
toml = ["tomli"]

[metadata]
lock-version = "2.1"
python-versions = "^3.11"
content-hash = "f8da06105d393936632db10b6cb0c09ffac001ad1f14b6dcc8aad42e6eeacbf5"
"""
HASHES = {
    "packaging": "29572ef2b1f17581046b3a2227d5c611fb25ec70ca1ba8554b24b0e69331a484",
    "tomli": "cb55c73c5f4408779d0cf3eef9f762b9c9f147a77de7b258bef0a5628adc85cc",
}
for _name, _hash in HASHES.items():
    LOCK = LOCK.replace(f"%{_name}", _hash)
FILES = {"pyproject.toml": PROJECT, "poetry.lock": LOCK, "shop/__init__.py": ""}
INDEX = {"UV_CACHE_DIR": str(CACHE / "uv")}


@pytest.fixture
def at(tmp_path: Path) -> Installer:
    return Installer(tmp_path)


def test_packages_and_extras(at: Installer) -> None:
    assert of_lock(at.install(FILES, environment=INDEX)) == {"packaging": "25.0", "shop": "0.1.0"}
    more = of_lock(at.install(FILES, environment=INDEX, extras=["toml"]))
    assert more == {"packaging": "25.0", "shop": "0.1.0", "tomli": "2.2.1"}


def test_outdated_lock(at: Installer) -> None:
    with pytest.raises(CommandFailed, match=r"poetry\.lock cannot be installed") as caught:
        at.install({**FILES, "pyproject.toml": PROJECT.replace("^25.0", "*")}, environment=INDEX)
    assert caught.value.hint == Hint(HintKind.EXPORT_POETRY)


def test_package_without_its_directory(at: Installer) -> None:
    """Poetry cannot build it, and the app is imported from the release."""
    files = {"pyproject.toml": PROJECT, "poetry.lock": LOCK}
    assert of_lock(at.install(files, environment=INDEX)) == {"packaging": "25.0"}
    assert "warning: the project is not installed as a package" in at.log
