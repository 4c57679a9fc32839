"""docs/setup.md lists the variables of gunicorn's configuration."""

import re

from tests.support.processes import PROJECT


def test_page_lists_all_health_variables() -> None:
    read = set(re.findall(r"HOOKD_[A-Z_]+", (PROJECT / "units" / "gunicorn.conf.py").read_text()))
    page = (PROJECT / "docs" / "setup.md").read_text()
    assert read == set(re.findall(r"^\| `(HOOKD_[A-Z_]+)`", page, re.MULTILINE))
