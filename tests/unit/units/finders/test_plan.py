"""A plan is one app's, and ends soon whatever the repository holds."""

import time

import pytest

from hookd.model.plan import Plan
from tests.unit.units.finders.layouts import FLASK, plan_of


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"README": "x"}, "Python"),
        ({"cookiecutter.json": "{}", "{{a}}/app.py": FLASK}, "template"),
        ({"lib/x.py": "a = 1\n"}, "service.entry"),
        ({}, "no files"),
    ],
)
def test_unknown_repositories_say_why(files: dict[str, str], reason: str) -> None:
    plan = plan_of(files)
    assert (plan.kind, plan.findings, len(plan.remarks)) == ("unknown", (), 1)
    assert reason in plan.remarks[0]


HOSTILE = {
    "nested": "x = " + "+".join(["a"] * 5000) + "\n",
    "branches": "if a:\n    b = 1\n" + "elif a:\n    b = 1\n" * 2000,
    "attributes": "UPLOAD_FOLDER = a" + ".b" * 3000 + "\n",
    "powers": "DATA_DIR = f'" + "{A0}" * 40 + "'\n" + "".join(f"A{n} = f'{f'{{A{n + 1}}}' * 40}'\n" for n in range(30)),
    "factories": "".join(f"def app{n}():\n" + f"    app{n + 1}()\n" * 400 + "    return 1\n" for n in range(9))
    + "o = app0()\n",
    "parents": "from pathlib import Path\nDATA_DIR = Path(__file__).parents[1000000000]\n",
    "escapes": "import os\nA = os.environ['A_URL\\x1b[2J']\nSECRET_KEY = os.getenv('B', '\\x1b')\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_ends_soon(name: str) -> None:
    begin = time.process_time()
    plan = plan_of({"app.py": HOSTILE[name], "shop.py": "import app as other\n" + FLASK})
    assert plan.kind == "flask"
    assert Plan.from_json(plan.to_json()) == plan
    assert time.process_time() - begin < 5
