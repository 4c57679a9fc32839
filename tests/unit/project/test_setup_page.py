"""docs/setup.md lists the variables of the program that starts gunicorn."""

import re

from tests.support.processes import PROJECT


def test_page_lists_all_health_variables() -> None:
    code = "".join(path.read_text() for path in (PROJECT / "units" / "in_app").rglob("*.py"))
    read = set(re.findall(r'"(HOOKD_[A-Z]+_[A-Z]+)"', code))
    page = (PROJECT / "docs" / "setup.md").read_text()
    assert read == set(re.findall(r"^\| `(HOOKD_[A-Z_]+)`", page, re.MULTILINE))
