"""The app's directory is the only one with an app, or is asked for."""

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
