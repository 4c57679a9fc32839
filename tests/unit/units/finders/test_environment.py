"""The list of packages and the version of Python are the ones that the project means."""

import pytest

from tests.unit.units.finders.layouts import FLASK, plan_of, values_of
from units.finders.packages.python import fitting_minors

HASHED = "flask==3.1 --hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("files", "file"),
    [
        ({"uv.lock": "", "requirements.txt": "flask", "pyproject.toml": "[project]\nname='a'"}, "uv.lock"),
        ({"poetry.lock": "", "requirements.txt": "flask"}, "poetry.lock"),
        ({"pdm.lock": "", "pyproject.toml": "[project]\nname='a'"}, "pdm.lock"),
        ({"Pipfile.lock": "{}", "Pipfile": "", "requirements.txt": "flask"}, "Pipfile.lock"),
        ({"pylock.toml": "", "requirements.txt": "flask"}, "pylock.toml"),
        ({"requirements.txt": "flask", "requirements.lock.txt": HASHED}, "requirements.lock.txt"),
        ({"requirements.txt": "flask", "requirements/dev.txt": "pytest"}, "requirements.txt"),
        ({"requirements/base.txt": "flask", "requirements/prod.txt": "-r base.txt", "requirements/dev.txt": "x"}, "requirements/prod.txt"),
        ({"requirements-dev.txt": "pytest", "pyproject.toml": "[project]\nname='a'"}, None),
        ({"setup.py": "from setuptools import setup\nsetup(install_requires=['flask'])"}, None),
    ],
)  # fmt: skip
def test_most_exact_list_wins(files: dict[str, str], file: str | None) -> None:
    """A project's own file is found at the deployment."""
    assert values_of({"app.py": FLASK, **files}).get("dependencies.file") == file


@pytest.mark.parametrize("file", ["Pipfile", "environment.yml"])
def test_lists_without_a_lock_say_how(file: str) -> None:
    assert any(file in remark for remark in plan_of({"app.py": FLASK, file: ""}).remarks)


def test_groups_for_production_are_proposed() -> None:
    text = "[project]\nname='a'\n[project.optional-dependencies]\nprod=['x']\ntest=['y']\n[dependency-groups]\nserver=['z']\n"
    values = values_of({"app.py": FLASK, "pyproject.toml": text})
    assert (values["dependencies.extras"], values["dependencies.groups"]) == (["prod"], ["server"])


HOST = {"py39": "/usr/local/bin/python3.9", "py311": "/usr/bin/python3.11", "py313": "/opt/python3.13"}


@pytest.mark.parametrize(
    ("files", "version", "is_said"),
    [
        ({".python-version": "3.13.2\n"}, "3.13", False),
        ({".python-version": "3.11\n", "pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.11,<3.12'"}, "3.11", False),
        ({"runtime.txt": "python-3.9.5"}, "3.9", False),
        ({"pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.8'"}, "3.11", False),
        ({"pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.12'"}, "3.13", False),
        ({"pyproject.toml": "[tool.poetry.dependencies]\npython='^3.9'", "Dockerfile": "FROM python:3.9.10-slim\n"}, "3.9", False),
        ({"pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.14'"}, "3.14", True),
        ({"Pipfile": "[requires]\npython_version='3.7'\n", "Pipfile.lock": "{}"}, "3.9", True),
        ({"Dockerfile": "FROM python:3.14.7-slim\n", "requirements.txt": "Django==6.1"}, "3.13", True),
        ({"Dockerfile": "FROM python:3.6-alpine\n"}, "3.9", True),
        ({"setup.py": "setup(python_requires='>= 3.10')"}, "3.11", False),
    ],
)  # fmt: skip
def test_python_fits_the_host(files: dict[str, str], version: str, is_said: bool) -> None:
    plan = plan_of({"app.py": FLASK, **files}, **HOST)
    assert {one.key: one.value for one in plan.findings}["dependencies.python"] == version
    assert any("uv python install" in remark for remark in plan.remarks) == is_said


@pytest.mark.parametrize(
    ("rule", "lowest", "highest"),
    [(">=3.9,<3.12", 9, 11), ("^3.9", 9, 29), ("~3.9", 9, 9), ("~=3.8", 8, 29), ("~=3.8.1", 8, 8), ("==3.10.*", 10, 10),
     (">3.7", 8, 29), ("<3.12.0", 6, 11), (">= 3.10", 10, 29), (">=3", 6, 29), ("3.11.*", 11, 11), (">=3.9 <3.11", 9, 10)],
)  # fmt: skip
def test_rules_of_versions_are_read(rule: str, lowest: int, highest: int) -> None:
    assert fitting_minors(rule) == frozenset(range(lowest, highest + 1))
