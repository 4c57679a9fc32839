"""Build commands are those that the project's own files ask for."""

import pytest

from tests.unit.units.finders.layouts import FLASK, SETTINGS, django, plan_of, values_of

PACKAGE = '{"scripts": {"build": "vite build"}}'
STATIC = SETTINGS + 'STATIC_ROOT = BASE_DIR / "collected"\n'


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({"package.json": PACKAGE, "package-lock.json": "{}"}, [["npm", "ci"], ["npm", "run", "build"], ["rm", "-rf", "node_modules"]]),
        (
            {"frontend/package.json": PACKAGE, "frontend/pnpm-lock.yaml": ""},
            [
                ["pnpm", "--dir", "frontend", "install", "--frozen-lockfile"],
                ["pnpm", "--dir", "frontend", "run", "build"],
                ["rm", "-rf", "frontend/node_modules"],
            ],
        ),
        ({"package.json": PACKAGE, "yarn.lock": ""}, [["yarn", "install", "--frozen-lockfile"], ["yarn", "run", "build"], ["rm", "-rf", "node_modules"]]),
        ({"package.json": '{"scripts": {"lint": "x"}}'}, None),
        ({"docs/package.json": PACKAGE}, None),
        ({"requirements.txt": "Flask-Assets"}, [["flask", "assets", "build"]]),
        ({"requirements.txt": "flask-babel", "app/translations/es/LC_MESSAGES/messages.po": ""}, [["pybabel", "compile", "-d", "app/translations"]]),
        (
            {"requirements.txt": "flask-babel", "tr/es/LC_MESSAGES/messages.po": "", "tr/es/LC_MESSAGES/messages.mo": ""},
            None,
        ),
    ],
)  # fmt: skip
def test_build_commands_are_found(files: dict[str, str], commands: list[list[str]] | None) -> None:
    assert values_of({"app.py": FLASK, **files}).get("build.commands") == commands


def test_django_collects_its_static_files() -> None:
    plan = plan_of(django(STATIC + 'import os\nKEY = os.environ["API_TOKEN"]\nCOMPRESS_OFFLINE = True\n'))
    found = {one.key: one for one in plan.findings}
    manage = ["python", "manage.py"]
    assert found["build.commands"].value == [[*manage, "collectstatic", "--noinput"], [*manage, "compress"]]
    assert found["build.commands"].proposed
    assert found["build.environment"].value == {"API_TOKEN": "build"}
