"""Data that a release would lose is shared, moved by a variable, or named."""

import pytest

from tests.unit.units.finders.layouts import FLASK, SETTINGS, django, plan_of, values_of, variables_of

SQLITE = 'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %s}}\n'


@pytest.mark.parametrize(
    ("files", "directories"),
    [
        ({"app.py": FLASK + "import os\nos.makedirs(app.instance_path, exist_ok=True)\n"}, ["instance"]),
        ({"app.py": FLASK + "app.config['SQLALCHEMY_DATABASE_URI'] = 'sqlite:///shop.db'\n", "requirements.txt": "flask-sqlalchemy==3.1"}, ["instance"]),
        ({"app.py": FLASK + "import os\nUPLOAD_FOLDER = os.path.join(os.path.dirname(__file__), 'static', 'uploads')\n"}, ["static/uploads"]),
        ({"app.py": FLASK + "from pathlib import Path\nBASE = Path(__file__).parent\nDATA_DIR = BASE / 'var' / 'data'\n(BASE / 'var').mkdir()\n"}, ["var"]),
        ({"app.py": FLASK + "from logging.handlers import RotatingFileHandler\nRotatingFileHandler('logs/shop.log')\n", "logs/.gitkeep": ""}, ["logs"]),
        ({"app.py": FLASK + "from config import Config\n", "config.py": "class Config:\n    UPLOAD_FOLDER = 'uploads'\nclass TestConfig:\n    UPLOAD_FOLDER = 'other'\n"}, ["uploads"]),
        (django(SETTINGS + 'MEDIA_ROOT = BASE_DIR / "media"\n' + SQLITE % 'BASE_DIR / "data" / "db.sqlite3"'), ["data", "media"]),
        (django("from pathlib import Path\nHERE = Path(__file__).resolve().parents[1]\n" + SETTINGS + 'MEDIA_ROOT = HERE.joinpath("media")\n'), ["media"]),
        (django("from .base import *\n" + SETTINGS + 'MEDIA_ROOT = DATA / "media"\n', **{"site1/base.py": "from pathlib import Path\nDATA = Path(__file__).parent / 'data'\n"}), ["site1/data/media"]),
        ({"app.py": FLASK + "UPLOAD_FOLDER = '/var/uploads'\nDATABASE_URL = 'sqlite://'\n"}, None),
        ({"app.py": FLASK + "UPLOAD_FOLDER = 'static'\n", "static/logo.svg": "x"}, None),
        ({"app.py": FLASK + "UPLOAD = 'upload'\n"}, None),
    ],
)  # fmt: skip
def test_written_directories_are_shared(files: dict[str, str], directories: list[str] | None) -> None:
    assert values_of(files).get("shared.directories") == directories


@pytest.mark.parametrize(
    ("files", "name", "example"),
    [
        (
            {"app.py": FLASK + "import os\nhere = os.path.abspath(os.path.dirname(__file__))\nSQLALCHEMY_DATABASE_URI = os.environ.get('DATABASE_URL') or 'sqlite:///' + os.path.join(here, 'app.db')\n"},
            "DATABASE_URL", "sqlite:///{shared}/data/app.db",
        ),
        (
            django("from site1.env import get_path\n" + SETTINGS + SQLITE % 'get_path("SHOP_DB", BASE_DIR / "hc.sqlite")', **{"site1/env.py": "import os\ndef get_path(name, default):\n    return os.getenv(name) or default\n"}),
            "SHOP_DB", "{shared}/data/hc.sqlite",
        ),
        (django(SETTINGS + "import os\n" + SQLITE % 'os.getenv("DB_NAME", BASE_DIR / "hc.sqlite")'), "DB_NAME", "{shared}/data/hc.sqlite"),
        (
            {"app.py": FLASK + "import os\nUPLOAD_DIR = os.getenv('SHOP_UPLOADS_DIR', os.path.join(app.root_path, 'bangs'))\nos.makedirs(UPLOAD_DIR)\n", "bangs/a.json": "{}"},
            "SHOP_UPLOADS_DIR", "{shared}/shop-uploads",
        ),
    ],
)  # fmt: skip
def test_variables_move_data_out(files: dict[str, str], name: str, example: str) -> None:
    variable = variables_of(files)[name]
    assert (variable.needed, variable.example) == (True, example)
    assert values_of(files)["shared.directories"]


def test_file_beside_the_code_is_named() -> None:
    plan = plan_of(django(SETTINGS + SQLITE % 'BASE_DIR / "db.sqlite3"'))
    assert any("db.sqlite3" in remark and "settings.py, line 5" in remark for remark in plan.remarks)


def test_key_file_asks_for_the_variable() -> None:
    text = "import os\nSECRET_KEY = os.getenv('SECRET_KEY')\nopen('.secret_key', 'wb')\n"
    assert variables_of({"app.py": FLASK + text})["SECRET_KEY"].needed


def test_shared_directories_do_not_overlap() -> None:
    files = {"app.py": FLASK + "UPLOAD_FOLDER = 'celerybeat/files'\n", "requirements.txt": "celery"}
    text = "from celery import Celery\napp = Celery('a')\napp.conf.beat_schedule = {}\n"
    assert values_of({**files, "jobs.py": text})["shared.directories"] == ["celerybeat"]
