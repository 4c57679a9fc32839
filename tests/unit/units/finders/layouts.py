"""Small repositories, shaped after real projects, and the plans of them."""

from collections.abc import Mapping
from typing import Any

from hookd.model.plan import Plan, Variable
from units.finders.plan import find_plan
from units.finders.repository.tree import Tree

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FACTORY = "from flask import Flask\ndef create_app():\n    app = Flask(__name__)\n    return app\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings")\n'
WSGI = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
SETTINGS = (
    "from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\n"
    'INSTALLED_APPS = ["django.contrib.staticfiles"]\nWSGI_APPLICATION = "site1.wsgi.application"\n'
)
DJANGO = {"manage.py": MANAGE, "site1/__init__.py": "", "site1/wsgi.py": WSGI, "requirements.txt": "Django==5.2\n"}


def plan_of(files: Mapping[str, str], directory: str | None = None, **interpreters: str) -> Plan:
    """Return the plan of a small repository. `interpreters` are given as py311="/usr/bin/python3.11"."""
    host = {f"3.{name.removeprefix('py3')}": path for name, path in interpreters.items()}
    return find_plan(Tree.of(files), directory, host)


def values_of(files: Mapping[str, str], directory: str | None = None, **interpreters: str) -> dict[str, Any]:
    """Return the values of a plan by their keys."""
    return {one.key: one.value for one in plan_of(files, directory, **interpreters).findings}


def variables_of(files: Mapping[str, str]) -> dict[str, Variable]:
    """Return the variables of a plan by their names."""
    return {one.name: one for one in plan_of(files).variables}


def django(settings: str = SETTINGS, **more: str) -> dict[str, str]:
    """Return a project of Django with these settings."""
    return {**DJANGO, "site1/settings.py": settings, **more}
