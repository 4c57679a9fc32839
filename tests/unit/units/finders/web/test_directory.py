"""The app's directory is the only one with an app, or is asked for."""

import pytest

from tests.unit.units.finders.layouts import FASTAPI, FLASK, plan_of, values_of


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
    ("app", "more"),
    [
        (
            "from flask import Flask\napp = Flask(__name__)\napp.config['UPLOAD_FOLDER'] = 'uploads'\n",
            {"backend/static/a.css": ""},
        ),
        (
            "from starlette.applications import Starlette\nfrom starlette.staticfiles import StaticFiles\n"
            "from starlette.routing import Mount\nUPLOAD_DIR = 'uploads'\n"
            "app = Starlette(routes=[Mount('/static', app=StaticFiles(directory='static'))])\n",
            {"backend/static/a.css": ""},
        ),
    ],
    ids=["Flask", "Starlette"],
)
def test_paths_count_from_the_top(app: str, more: dict[str, str]) -> None:
    """Shared and static directories lie in the release, while commands run in the app's directory."""
    values = values_of({"backend/app.py": app, "backend/requirements.txt": "flask\nstarlette\n", **more})
    assert values["service.directory"] == "backend"
    assert values["shared.directories"] == ["backend/uploads"]
    assert values["site.static"] == {"/static/": "backend/static"}


def test_own_data_counts_from_the_top() -> None:
    """A server's data directory and the scheduler's file lie beside the app."""
    files = {
        "web/Procfile": "web: python -m shop -d /datastore\n",
        "web/shop.py": "import http.server\nhttp.server.HTTPServer(('', 80), None).serve_forever()\n",
        "web/requirements.txt": "",
    }
    assert values_of(files, "web")["shared.directories"] == ["web/datastore"]
