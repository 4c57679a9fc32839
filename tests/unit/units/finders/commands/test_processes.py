"""Processes are those that the project names, or those of its task queues."""

from typing import Any

import pytest

from tests.unit.units.finders.layouts import FLASK, django, values_of

CELERY = "from celery import Celery\napp = Celery('a')\n"


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
