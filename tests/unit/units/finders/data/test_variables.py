"""Variables that the code needs are asked for, with their places and examples."""

import pytest

from tests.unit.units.finders.layouts import FLASK, SETTINGS, django, plan_of, variables_of

PYDANTIC = (
    "from pydantic_settings import BaseSettings\nclass Base(BaseSettings):\n    debug: bool = False\n"
    "class Settings(Base):\n    database_url: str\n    name: str | None\n"
)
PREFIXED = (
    "from pydantic_settings import BaseSettings, SettingsConfigDict\nfrom pydantic import Field\n"
    "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='SHOP_')\n    url: str\n"
    "    token: str = Field(alias='TOKEN')\n    key: str = Field(...)\n    mail: str = Field(DEFAULT)\n"
)


@pytest.mark.parametrize(
    ("text", "needed", "others"),
    [
        ("import os\nA = os.environ['A_URL']\nB = os.environ.get('B_URL', 'b')\nC = os.getenv('C_URL')\n", {"A_URL"}, {"B_URL", "C_URL"}),
        ("from os import environ as e\nA = e['A_URL']\n", {"A_URL"}, set()),
        ("import os\nif 'A' in os.environ:\n    A = os.environ['A']\n    B = os.environ['B']\n", set(), {"A", "B"}),
        ("import os\ntry:\n    A = os.environ['A']\nexcept KeyError:\n    A = 1\n", set(), {"A"}),
        ("from decouple import config\nA = config('A')\nB = config('B', default='x')\n", {"A"}, {"B"}),
        ("import environ\nenv = environ.Env(B=(bool, False))\nA = env('A')\nB = env('B')\nC = env.db()\n", {"A", "DATABASE_URL"}, {"B"}),
        ("from environs import Env\nenv = Env()\nA = env.str('A')\nB = env.int('B', default=1)\n", {"A"}, {"B"}),
        ("import os\ndef secret(name, default=None):\n    return os.getenv(name, default)\nA = secret('A')\n", set(), {"A"}),
        (PYDANTIC, {"DATABASE_URL"}, {"DEBUG", "NAME"}),
        (PREFIXED, {"SHOP_URL", "TOKEN", "SHOP_KEY"}, {"SHOP_MAIL"}),
        ("import os\nos.environ['OWN'] = '1'\nHOME = os.environ['HOME']\nrequest.environ['REMOTE_ADDR']\n", set(), set()),
    ],
)  # fmt: skip
def test_reads_of_variables_are_found(text: str, needed: set[str], others: set[str]) -> None:
    found = variables_of({"app.py": FLASK + text}).values()
    assert {one.name for one in found if one.needed} == needed
    assert {one.name for one in found if not one.needed} == others


@pytest.mark.threat(28)
@pytest.mark.parametrize("name", ["HOOKD_HEALTH_STATUS", "HOOKD_CONFIG", "LD_PRELOAD", "LISTEN_FDS"])
def test_host_variables_are_left_out(name: str) -> None:
    """They would overrule those that hookd gives the service, such as for its health check."""
    code = f"import os\nOWN = os.environ['OWN']\nUPLOAD_FOLDER = os.environ.get('{name}', 'data')\nA = os.environ['{name}']\n"
    found = variables_of({"app.py": FLASK + code + "os.makedirs(UPLOAD_FOLDER)\n", ".env.example": f"{name}=<600\n"})
    assert "OWN" in found and name not in found


def test_examples_come_from_files() -> None:
    files = {
        "app.py": FLASK + "import os\nA = os.environ['API_HOST_URL']\n",
        ".env.example": "# comment\nAPI_HOST_URL='http://x' # local\nMORE=1\n",
        "app.json": '{"env": {"ASKED": {"description": "x"}, "MADE": {"generator": "secret"}, "SET": "1"}}',
    }
    found = variables_of(files)
    assert (found["API_HOST_URL"].example, found["API_HOST_URL"].source) == ("http://x", "app.py, line 4")
    assert {name: one.needed for name, one in found.items()} == {
        "API_HOST_URL": True, "MORE": False, "ASKED": True, "MADE": False, "SET": False,
    }  # fmt: skip


def test_secrets_are_marked_without_example() -> None:
    plan = plan_of(
        {
            "app.py": FLASK + "import os\nSECRET_KEY = os.environ.get('SECRET_KEY') or 'guess'\n",
            ".env.example": "SECRET_KEY=guess",
        }
    )
    (variable,) = plan.variables
    assert (variable.needed, variable.secret, variable.example) == (True, True, None)
    assert any("SECRET_KEY" in remark for remark in plan.remarks)


def test_production_settings_are_chosen() -> None:
    files = {
        "manage.py": 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site1.settings.dev")\n',
        "site1/settings/base.py": SETTINGS
        + "import os\nALLOWED_HOSTS = os.getenv('SITE_ALLOWED_HOSTS', '').split(',')\n",
        "site1/settings/dev.py": "from .base import *\n",
        "site1/settings/production.py": "from .base import *\nimport os\nKEY = os.environ['API_URL']\n",
        "site1/wsgi.py": django()["site1/wsgi.py"],
    }
    found = variables_of(files)
    assert found["DJANGO_SETTINGS_MODULE"].example == "site1.settings.production"
    assert found["SITE_ALLOWED_HOSTS"].example == "{domain},localhost"
    assert found["API_URL"].needed


def test_debugging_is_turned_off() -> None:
    text = SETTINGS + "import os\nDEBUG = os.getenv('DEBUG', 'True') == 'True'\n"
    variable = variables_of(django(text))["DEBUG"]
    assert (variable.needed, variable.example) == (True, "False")


@pytest.mark.parametrize("value", ["postgresql://app:${PASSWORD}@localhost/app", "$HOME/shop.db"])
def test_value_of_others_is_no_example(value: str) -> None:
    files = {"app.py": FLASK + "import os\nos.environ['DATABASE_URL']\n", ".env.example": f"DATABASE_URL={value}\n"}
    assert {one.name: one.example for one in plan_of(files).variables}["DATABASE_URL"] is None
