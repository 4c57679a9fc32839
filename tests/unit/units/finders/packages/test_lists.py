"""The list of packages is the one that the project means."""

import datetime

import pytest

from tests.unit.units.finders.layouts import FLASK, plan_of, values_of
from units.finders.plan import find_plan
from units.finders.repository.tree import Tree

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
        ({"requirements/prod.txt": "flask", "pyproject.toml": f"x = {'9' * 5000}"}, "requirements/prod.txt"),
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


@pytest.mark.parametrize(
    ("date", "day"),
    [
        (datetime.date(2019, 9, 1), "2019-09-02"),
        (datetime.date(2022, 12, 31), "2023-01-01"),
        (datetime.date(2026, 1, 1), None),
        (None, None),
    ],
)
def test_old_commits_have_a_way_out(date: datetime.date | None, day: str | None) -> None:
    tree = Tree.of({"app.py": FLASK, "requirements.txt": "flask\n"}, date)
    remarks = [one for one in find_plan(tree, today=datetime.date(2026, 12, 1)).remarks if "UV_EXCLUDE_NEWER" in one]
    assert [one.rpartition("=")[2] for one in remarks] == ([day] if day else [])
