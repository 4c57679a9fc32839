"""The web process is found in the place that a person would look at first."""

import pytest

from tests.unit.units.finders.layouts import DJANGO, FACTORY, FASTAPI, FLASK, SETTINGS, WSGI, django, plan_of, values_of
from units.apps.table.keys import parse_change

NEEDY = "from flask import Flask\ndef create_app(config_name):\n    return Flask(__name__)\n"
INI = "[uwsgi]\nmodule = site1.wsgi:application\nprocesses = 3\nattach-daemon = ./manage.py sendalerts --loop\n"


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ({"Procfile": "web: gunicorn shop:app -w 4 --bind 0.0.0.0:$PORT\n", "shop.py": FLASK}, "shop:app"),
        ({"Procfile": "web: flask db upgrade && exec gunicorn 'shop:create_app()'\n", "shop.py": FACTORY}, "shop:create_app()"),
        ({"Procfile": "web: A=1 newrelic-admin run-program gunicorn shop.wsgi\n", "shop/wsgi.py": WSGI}, "shop.wsgi:application"),
        ({"Procfile": "web: gunicorn shop:create_app\\(\\'prod\\'\\)\n", "shop.py": NEEDY}, "shop:create_app('prod')"),
        ({"Procfile": "web: uvicorn main:app --port $PORT\n", "main.py": FASTAPI}, "main:app"),
        ({"Procfile": "web: python app.py\n", "app.py": FLASK}, "app:app"),
        ({"Procfile": "web: python -m gunicorn shop:app\n", "shop.py": FLASK}, "shop:app"),
        ({"Procfile": "web: python -um shop\n", "shop/__main__.py": "", "shop/__init__.py": FLASK}, "shop:app"),
        ({"Procfile": "web: python manage.py runserver 0:$PORT\n", **DJANGO}, "site1.wsgi:application"),
        ({"Dockerfile": 'FROM python:3.12\nCMD ["gunicorn", "-b", ":80", "shop:app"]\n', "shop.py": FLASK}, "shop:app"),
        ({"Dockerfile": "FROM python:3.12\nCMD poetry run uvicorn shop:app --host 0.0.0.0\n", "shop.py": FASTAPI}, "shop:app"),
        (
            {
                "docker/Dockerfile": 'ENTRYPOINT ["/srv/docker/start.sh"]\n',
                "docker/start.sh": '#!/bin/sh\nCLASS=${CLASS:-sync}\nexec gunicorn shop:app \\\n  -k "$CLASS"\n',
                "shop.py": FLASK,
            },
            "shop:app",
        ),
        (
            {
                "Dockerfile": 'ENTRYPOINT ["/e.sh"]\nCMD ["waitress-serve", "--call", "shop:create_app"]\n',
                "e.sh": '#!/bin/sh\nexec "$@"\n',
                "shop.py": FACTORY,
            },
            "shop:create_app()",
        ),
        (
            {
                "Dockerfile": 'CMD ["dash", "start.sh"]\n',
                "start.sh": "#!/bin/sh\nexec gunicorn shop.site:app\n",
                "shop/site.py": FLASK,
                "app.py": FLASK,
            },
            "shop.site:app",
        ),
        ({"Procfile": "web: uwsgi conf/uwsgi.ini\n", "conf/uwsgi.ini": INI, **DJANGO}, "site1.wsgi:application"),
        ({".flaskenv": "FLASK_APP=shop.py\n", "shop.py": FACTORY}, "shop:create_app()"),
        ({"Dockerfile": "ENV FLASK_APP shop.py\n", "shop.py": FLASK}, "shop:app"),
        (django(), "site1.wsgi:application"),
        ({"microblog.py": "from app import create_app\napp = create_app()\n", "app/__init__.py": FACTORY}, "microblog:app"),
        ({"app/main.py": FASTAPI, "app/__init__.py": ""}, "app.main:app"),
        ({"flaskr/__init__.py": FACTORY, "pyproject.toml": "[project]\nname='flaskr'\n"}, "flaskr:create_app()"),
        ({"src/shop/__init__.py": FLASK, "pyproject.toml": "[project]\nname='shop'\n"}, "shop:app"),
        ({"wsgi.py": "def application(environ, start_response):\n    return []\n"}, "wsgi:application"),
        ({"asgi.py": "async def app(scope, receive, send): ...\n"}, "asgi:app"),
        ({"dash_app.py": "from dash import Dash\npage = Dash()\nserver = page.server\n"}, "dash_app:server"),
        ({"app.py": "from flask import Flask\nclass Own(Flask): ...\ndef make_app():\n    return Own('a')\n"}, "app:make_app()"),
        ({"shop/__init__.py": NEEDY, "config.py": "config = {'development': 1, 'production': 2}\n"}, "shop:create_app('production')"),
    ],
)  # fmt: skip
def test_entry_is_found(files: dict[str, str], entry: str) -> None:
    assert values_of(files)["service.entry"] == entry


@pytest.mark.parametrize(
    ("files", "kind", "worker_class"),
    [
        ({"app.py": FASTAPI}, "asgi", "asgi"),
        ({"app.py": FLASK}, "flask", None),
        ({"app.py": "from made import app\n", "Procfile": "web: uvicorn app:app\n"}, "wsgi", "asgi"),
        ({"app.py": "from made import app\n", "Procfile": "web: gunicorn app:app -k uvicorn.workers.UvicornWorker\n"}, "wsgi", "asgi"),
        ({"app.py": FLASK, "Procfile": "web: gunicorn app:app -k gevent\n", "requirements.txt": "gevent"}, "flask", "gevent"),
        ({"app.py": FLASK, "gunicorn.conf.py": "worker_class = 'eventlet'\n"}, "flask", "eventlet"),
        ({"app.py": FASTAPI, "Procfile": "web: gunicorn app:app -k uvicorn.workers.UvicornWorker\n"}, "asgi", "asgi"),
        (django(), "django", None),
        (
            django(
                SETTINGS + 'ASGI_APPLICATION = "site1.asgi.application"\n',
                **{
                    "site1/asgi.py": "from channels.routing import ProtocolTypeRouter\napplication = ProtocolTypeRouter({})\n",
                    "requirements.txt": "channels\nDjango\n",
                },
            ),
            "django",
            "asgi",
        ),
        ({"main.py": "from app import make\napi = make()\n", "app.py": FASTAPI + "def make():\n    return app\n"}, "asgi", "asgi"),
    ],
)  # fmt: skip
def test_kind_and_worker_class_fit(files: dict[str, str], kind: str, worker_class: str | None) -> None:
    plan = plan_of(files)
    assert (plan.kind, {one.key: one.value for one in plan.findings}.get("service.worker_class")) == (
        kind,
        worker_class,
    )


def test_numbers_come_from_the_command() -> None:
    files = {"Procfile": "web: gunicorn a:app -w4 --threads=8\n", "a.py": FLASK, "gunicorn.conf.py": "workers = 9\n"}
    values = values_of(files)
    assert (values["service.workers"], values["service.threads"]) == (4, 8)


def test_own_server_keeps_its_command() -> None:
    files = {
        "Dockerfile": 'FROM python:3.12\nEXPOSE 5000\nCMD ["python", "./run.py", "-p", "$PORT", "-d", "/datastore"]\n',
        "run.py": "import shop\nshop.main()\n",
        "shop/__init__.py": "def main(): ...\n",
    }
    plan = plan_of(files)
    values = {one.key: one.value for one in plan.findings}
    assert plan.kind == "command"
    assert values["service.command"] == ["python", "run.py", "-p", "5000", "-d", "datastore"]
    assert (values["service.listen"], values["shared.directories"]) == ("127.0.0.1:5000", ["datastore"])


def test_factory_with_arguments_is_named() -> None:
    plan = plan_of({"shop/__init__.py": NEEDY})
    assert "service.entry" not in {one.key for one in plan.findings}
    assert any("config_name" in remark for remark in plan.remarks)


def test_code_below_its_list_runs() -> None:
    """Django in a directory of its own, with the list of packages at the top."""
    files = {f"web/{path}": text for path, text in django().items() if path != "requirements.txt"}
    plan = plan_of({**files, "requirements.txt": "Django==5.2\n"})
    values = {one.key: one.value for one in plan.findings}
    assert (values["service.entry"], values["dependencies.file"]) == ("site1.wsgi:application", "requirements.txt")
    assert {one.name: one.example for one in plan.variables}["PYTHONPATH"] == "web"
    assert values["release.commands"] == [["python", "web/manage.py", "migrate", "--noinput"]]


@pytest.mark.parametrize(
    ("project", "is_installed"),
    [
        ("[build-system]\nrequires=['flit_core']\n", True),
        ("[tool.uv]\npackage=false\n[build-system]\n", False),
        ("", False),
    ],
)
def test_code_in_src_is_importable(project: str, is_installed: bool) -> None:
    plan = plan_of({"src/shop/__init__.py": FLASK, "pyproject.toml": f"{project}[project]\nname='shop'\n"})
    assert ("PYTHONPATH" not in {one.name for one in plan.variables}) == is_installed


@pytest.mark.parametrize(
    "text", ["def f(:\n", "\0", "x = " + "(" * 20_000 + ")" * 20_000, "a" * (1 << 20) + "bc", "é".encode().decode("latin-1")]
)  # fmt: skip
def test_broken_files_are_no_app(text: str) -> None:
    assert plan_of({"app.py": text, "requirements.txt": "flask"}).kind == "unknown"


def test_values_bound_to_themselves_end() -> None:
    text = "from app import app as app\nDATA_DIR = DATA_DIR + 'x'\ndef create_app():\n    return create_app()\n"
    assert plan_of({"app.py": text}).kind == "unknown"


def test_missing_worker_packages_are_said() -> None:
    plan = plan_of({"app.py": FLASK, "gunicorn.conf.py": "worker_class = 'gevent'\n"})
    remark = next(remark for remark in plan.remarks if "gevent" in remark)
    assert parse_change(remark.rpartition("--set ")[2].rstrip(".")) == ("service.worker_class", "gthread")
