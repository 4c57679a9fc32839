"""Build commands, release commands and processes are those that the project itself uses."""

from typing import Any

import pytest

from tests.unit.units.finders.layouts import FACTORY, FLASK, SETTINGS, django, plan_of, values_of

PACKAGE = '{"scripts": {"build": "vite build"}}'
STATIC = SETTINGS + 'STATIC_ROOT = BASE_DIR / "collected"\n'
CELERY = "from celery import Celery\napp = Celery('a')\n"


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


@pytest.mark.parametrize(
    ("files", "processes"),
    [
        ({"Procfile": "web: gunicorn app:app\nworker_1: A=b rq worker mails\nclock: python clock.py\n"},
         {"worker-1": ["env", "A=b", "rq", "worker", "mails"], "clock": ["python", "clock.py"]}),
        ({"requirements.txt": "celery[redis]>=5", "tasks/celery.py": CELERY}, {"celery": ["celery", "-A", "tasks.celery", "worker"]}),
        ({"requirements.txt": "celery", "make_celery.py": "import app\nqueue = app.extensions['celery']\n"},
         {"celery": ["celery", "-A", "make_celery:queue", "worker"]}),
        ({"requirements.txt": "rq", "jobs.py": "from rq import Queue\nq = Queue('mails')\n"}, {"rq": ["rq", "worker", "mails"]}),
        ({"requirements.txt": "huey", "jobs.py": "from huey import RedisHuey\nqueue = RedisHuey('a')\n"}, {"huey": ["huey_consumer.py", "jobs.queue"]}),
        ({"requirements.txt": "dramatiq", "jobs.py": "import dramatiq\n@dramatiq.actor\ndef f(): ...\n"}, {"dramatiq": ["dramatiq", "jobs"]}),
        (django(**{"requirements.txt": "django-rq", "uwsgi.ini": "[uwsgi]\nmodule=site1.wsgi\nattach-daemon = ./manage.py sendalerts\nattach-daemon = x %(_)\n",
                   "Procfile": "web: uwsgi uwsgi.ini\n"}), {"sendalerts": ["python", "manage.py", "sendalerts"]}),
        (django(**{"uwsgi.ini": "[uwsgi]\nmodule=site1.wsgi\nattach-daemon = celery -A app worker\n", "Procfile": "web: uwsgi uwsgi.ini\n"}),
         {"celery": ["celery", "-A", "app", "worker"]}),
        ({"Procfile": "web: gunicorn app:app\nworker: rq worker -u $REDIS_URL\n"}, {}),
    ],
)  # fmt: skip
def test_processes_are_found(files: dict[str, str], processes: dict[str, list[str]]) -> None:
    values = values_of({"app.py": FLASK, **files})
    found: dict[str, Any] = {
        key.partition(".")[2]: value for key, value in values.items() if key.startswith("processes.")
    }
    assert {name: value["command"] for name, value in found.items()} == processes


def test_schedule_of_celery_gets_a_directory() -> None:
    files = {
        "app.py": FLASK,
        "requirements.txt": "celery",
        "tasks.py": CELERY,
        "jobs.py": CELERY + "app.conf.beat_schedule = {}\n",
    }
    values = values_of(files)
    assert values["processes.beat"]["command"][-2:] == ["--schedule", "celerybeat/schedule"]
    assert values["shared.directories"] == ["celerybeat"]
