"""The version of Python fits the project, and is on the host if there is one."""

import pytest

from hookd.model.hint import Hint, HintKind, render_hint
from tests.unit.units.finders.layouts import FLASK, plan_of
from units.finders.plan import find_plan
from units.finders.repository.tree import Tree

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
    "files", [{"pyproject.toml": "[project]\nname='a'\nrequires-python='>=3.14'"}, {"Dockerfile": "FROM python:3.14-slim\n"}]
)  # fmt: skip
@pytest.mark.parametrize("kind", [HintKind.INSTALL_PYTHON, HintKind.INSTALL_OWN_PYTHON])
def test_install_command_fits_the_host(files: dict[str, str], kind: HintKind) -> None:
    plan = find_plan(Tree.of({"app.py": FLASK, **files}), None, {"3.11": "/usr/bin/python3.11"}, install=kind)
    assert any(f": {render_hint(Hint(kind, '3.14'), '')}" in remark for remark in plan.remarks)
