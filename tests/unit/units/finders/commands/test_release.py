"""Release commands are those that the project itself uses."""

import pytest

from tests.unit.units.finders.layouts import FACTORY, FLASK, django, values_of


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        (django(), [["python", "manage.py", "migrate", "--noinput"]]),
        (django(Procfile='release: yes "yes" | ./manage.py migrate\n'), [["python", "manage.py", "migrate", "--noinput"]]),
        ({"app.py": FLASK, "migrations/env.py": "", "requirements.txt": "Flask-Migrate\nflask"}, [["flask", "db", "upgrade"]]),
        (
            {"shop/__init__.py": FACTORY, "migrations/env.py": "", "requirements.txt": "Flask-Migrate\nflask"},
            [["flask", "--app", "shop", "db", "upgrade"]],
        ),
        ({"app.py": FLASK, "alembic.ini": ""}, [["alembic", "upgrade", "head"]]),
        ({"app.py": FLASK, "db/alembic.ini": ""}, [["alembic", "-c", "db/alembic.ini", "upgrade", "head"]]),
        ({"app.py": FLASK, "Procfile": "web: alembic upgrade head && gunicorn app:app\n"}, [["alembic", "upgrade", "head"]]),
        (
            {"app.py": FLASK, "Dockerfile": 'ENTRYPOINT ["./boot.sh"]\n', "boot.sh": "#!/bin/sh\nwhile true; do\nflask deploy\ndone\nexec gunicorn app:app\n"},
            [["flask", "deploy"]],
        ),
        ({"app.py": FLASK, "scripts/prestart.sh": "#!/bin/sh\npython wait.py\nalembic upgrade head\n"}, [["python", "wait.py"], ["alembic", "upgrade", "head"]]),
        ({"app.py": FLASK, "Procfile": "release: flask db upgrade\n", "requirements.txt": "flask-migrate"}, None),
    ],
)  # fmt: skip
def test_release_commands_are_found(files: dict[str, str], commands: list[list[str]] | None) -> None:
    assert values_of(files).get("release.commands") == commands
