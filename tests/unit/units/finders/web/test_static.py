"""Directories of static files are those that the code names."""

import pytest

from tests.unit.units.finders.layouts import FLASK, SETTINGS, django, values_of


@pytest.mark.parametrize(
    ("files", "table"),
    [
        (django(SETTINGS + 'STATIC_URL = "static/"\nSTATIC_ROOT = BASE_DIR / "collected"\n'), {"/static/": "collected"}),
        (
            django(SETTINGS + 'STATIC_URL = f"{x}/static/"\nSTATIC_ROOT = BASE_DIR / "c"\nMEDIA_URL = "/media/"\nMEDIA_ROOT = BASE_DIR / "m"\n'),
            {"/static/": "c"},
        ),
        ({"shop/__init__.py": FLASK, "shop/static/a.css": ""}, {"/static/": "shop/static"}),
        ({"app.py": "from flask import Flask\napp = Flask('a', static_folder='public', static_url_path='/files')\n", "public/a": ""}, {"/files/": "public"}),
        (
            {"app.py": "from starlette.applications import Starlette\nfrom starlette.routing import Mount\nfrom starlette.staticfiles import StaticFiles\n"
             "app = Starlette(routes=[Mount('/static', app=StaticFiles(directory='statics'))])\n", "statics/a": ""},
            {"/static/": "statics"},
        ),
        ({"app.py": FLASK + "import os\nos.makedirs('static/config')\n", "static/a.css": ""}, None),
        ({"app.py": FLASK}, None),
        ({"app.py": FLASK + "b = Flask('b', static_folder='b', static_url_path='/x;}')\n", "static/a": "", "b/b": ""}, {"/static/": "static"}),
        ({"app.py": FLASK + "b = Flask('b', static_folder='a b', static_url_path='/b')\n", "static/a": "", "a b/b": ""}, {"/static/": "static"}),
        ({"app.py": FLASK + "b = Flask('b', static_folder='b', static_url_path='/static/b')\n", "static/a": "", "b/b": ""}, {"/static/": "static"}),
    ],
)  # fmt: skip
def test_static_files_are_found(files: dict[str, str], table: dict[str, str] | None) -> None:
    """A directory with the app's data inside is not served, nor one that the site would refuse."""
    assert values_of(files).get("site.static") == table
