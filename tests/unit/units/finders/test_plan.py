"""A plan is one app's, its pages are asked, and its printed form is checked before it is trusted."""

import json
import time
from dataclasses import asdict

import pytest

from hookd.model.plan import Finding, Plan
from tests.unit.units.finders.layouts import FASTAPI, FLASK, SETTINGS, django, plan_of, values_of


@pytest.mark.parametrize(
    ("files", "page"),
    [
        ({"app.py": FLASK + "@app.route('/healthz')\ndef f(): ...\n"}, "/healthz"),
        ({"app.py": FASTAPI + "@app.get('/health/')\ndef f(): ...\n@app.post('/ping')\ndef g(): ...\n"}, "/health/"),
        ({"app.py": FLASK, "Dockerfile": "HEALTHCHECK CMD curl -f http://localhost:${PORT}/up || exit 1\n"}, "/up"),
        ({"app.py": FASTAPI, "compose.yml": 'test: ["CMD", "curl", "http://localhost:8000/api/health-check/"]\n'}, "/api/health-check/"),
        (django(SETTINGS, **{"site1/urls.py": "from django.urls import path\nurlpatterns = [path('ping/', f)]\n", "site1/wsgi.py": "import site1.urls\n" + django()["site1/wsgi.py"]}), "/ping/"),
        ({"app.py": FLASK + "@app.route('/ping', methods=['POST'])\ndef f(): ...\n"}, "/"),
        ({"app.py": FLASK + "from flask import Blueprint\napi = Blueprint('api', 'a', url_prefix='/api')\n@api.route('/health')\ndef f(): ...\n"}, "/"),
    ],
)  # fmt: skip
def test_health_page_is_found(files: dict[str, str], page: str) -> None:
    values = values_of(files)
    assert (values["health.page"], values["health.status"]) == (page, "<500" if page == "/" else 200)


def test_only_directory_is_taken() -> None:
    files = {
        "README.md": "",
        "backend/requirements.txt": "flask",
        "backend/app.py": FLASK,
        "docs/requirements.txt": "sphinx",
    }
    values = values_of(files)
    assert (values["service.directory"], values["service.entry"]) == ("backend", "app:app")
    assert plan_of(files).findings[1].source == "backend/app.py, line 2"


def test_several_directories_are_asked() -> None:
    files = {f"{name}/{path}": text for name in ("a", "b") for path, text in {"app.py": FLASK, "setup.py": ""}.items()}
    plan = plan_of(files)
    assert (plan.directories, plan.findings) == (("a", "b"), ())
    assert values_of(files, "b")["service.directory"] == "b"


def test_workspace_uses_the_lock_above() -> None:
    files = {
        "pyproject.toml": "[tool.uv.workspace]\nmembers=['backend']\n", "uv.lock": "", "bun.lock": "",
        "package.json": '{"workspaces": ["frontend"]}', "frontend/package.json": '{"scripts": {"build": "x"}}',
        "backend/pyproject.toml": "[project]\nname='app'\n", "backend/app/main.py": FASTAPI, "backend/app/__init__.py": "",
    }  # fmt: skip
    values = values_of(files)
    assert (values["service.directory"], "dependencies.file" in values) == ("backend", False)
    assert values["build.commands"][1] == ["bun", "--cwd=../frontend", "run", "build"]


@pytest.mark.parametrize(
    "files", [{"README": "x"}, {"cookiecutter.json": "{}", "{{a}}/app.py": FLASK}, {"lib/x.py": "a = 1\n"}, {}]
)
def test_unknown_repositories_say_why(files: dict[str, str]) -> None:
    plan = plan_of(files)
    assert (plan.kind, plan.findings, len(plan.remarks)) == ("unknown", (), 1)


HOSTILE = {
    "nested": "x = " + "+".join(["a"] * 5000) + "\n",
    "branches": "if a:\n    b = 1\n" + "elif a:\n    b = 1\n" * 2000,
    "attributes": "UPLOAD_FOLDER = a" + ".b" * 3000 + "\n",
    "powers": "DATA_DIR = f'" + "{A0}" * 40 + "'\n" + "".join(f"A{n} = f'{f'{{A{n + 1}}}' * 40}'\n" for n in range(30)),
    "factories": "".join(f"def app{n}():\n" + f"    app{n + 1}()\n" * 400 + "    return 1\n" for n in range(9))
    + "o = app0()\n",
    "escapes": "import os\nA = os.environ['A_URL\\x1b[2J']\nSECRET_KEY = os.getenv('B', '\\x1b')\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_ends_soon(name: str) -> None:
    begin = time.process_time()
    plan = plan_of({"app.py": HOSTILE[name], "shop.py": "import app as other\n" + FLASK})
    assert plan.kind == "flask"
    assert Plan.from_json(plan.to_json()) == plan
    assert time.process_time() - begin < 5


def test_plan_survives_its_json() -> None:
    plan = plan_of(django(Procfile="web: gunicorn site1.wsgi -w 3\nworker: rq worker\n"))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "a\x1b[2J"},
        {"remarks": ["\x1b]0;title\x07"]},
        {"remarks": "text"},
        {"more": 1},
        {"findings": [asdict(Finding("service.preflight", "x", "y"))]},
        {"findings": [asdict(Finding("service.entry\n", "x", "y"))]},
        {"findings": [asdict(Finding("build.commands", [["a\nb"]], "y"))]},
        {"findings": [asdict(Finding("service.entry", {"a": {"b": "c"}}, "y"))]},
        {"variables": [{"name": "A B", "source": "", "needed": True, "example": None, "secret": False}]},
    ],
)
def test_printed_plan_is_not_trusted(change: dict[str, object]) -> None:
    text = json.dumps({**asdict(Plan("flask")), **change})
    with pytest.raises(ValueError, match="validation error"):
        Plan.from_json(text)
