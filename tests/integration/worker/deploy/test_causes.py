"""A failed configuration: its cause, the command that mends it, and the one more try after an edit."""

from typing import Any

import pytest

from hookd.model.decision import Verdict
from hookd.model.deployment import Deployment, Status
from hookd.model.hint import render_hint
from tests.support.installation import WSGI, Installation, app_files
from tests.support.reconciling import ending, hookd, reconcile_app

DEFAULT_CHECK = ["gunicorn", "--check-config", "wsgi:app"]
APPS: dict[str, dict[str, Any]] = {
    "page": {"handover": "restart"},
    "pages": {"handover": "blue-green"},
    "entry": {"handover": "restart", "service": {"preflight": DEFAULT_CHECK}},
    "slow": {"handover": "restart", "limits": {"silence_seconds": 1}},
    "token": {"handover": "restart"},
    "first": {"handover": "blue-green"},
}
# circus reads the variables of a service when it starts itself, so the check alone needs one.
NEEDS_TOKEN = f"""
import os
if "HOOKD_HEALTH_PATH" not in os.environ:
    os.environ["API_TOKEN"]
{WSGI.format(version="two", health="200 OK")}
"""


def shown(record: Deployment) -> tuple[str, str]:
    return record.cause or "", render_hint(record.hint, record.app, record.id) if record.hint else ""


@pytest.mark.parametrize(
    ("app", "wsgi", "cause"),
    [
        ("page", WSGI.format(version="one", health="404 Gone"), "/healthz answered 404, not 200 (health.url)"),
        ("pages", WSGI.format(version="one", health="302 Found"), "/healthz answered 302, not 200 (health.url)"),
        ("entry", "application = 1", "Failed to find attribute 'app' in 'wsgi'. (service.entry)"),
        ("slow", "import time; time.sleep(60)", "and was stopped (limits.silence_seconds)"),
    ],
)
def test_cause_names_the_key(site: Installation, app: str, wsgi: str, cause: str) -> None:
    record = site.ship(app, {**app_files("one"), "wsgi.py": wsgi})
    text, command = shown(record)
    assert record.status is Status.FAILED
    assert cause in text
    assert command == f"${{EDITOR:-vi}} {site.directory}/apps/{app}.toml"
    assert f"next: {command}" in hookd(site, "status", app)


@pytest.mark.threat(28)
def test_exception_of_the_health_page(site: Installation) -> None:
    bad = WSGI.format(version="one", health="200 OK").replace('"PATH_INFO"] ==', '"PATH_INFO"] != 1 / 0 or ""')
    record = site.ship("page", {**app_files("one"), "wsgi.py": bad})
    assert "/healthz answered 500, not 200: the app raised ZeroDivisionError: division by zero" in shown(record)[0]


def test_edit_tries_once_more(site: Installation) -> None:
    variables = site.directory / "token.env"
    variables.write_text("OTHER=1\n")
    site.change_app("token", service={"environment_file": variables})
    assert site.ship("token", app_files("one")).status is Status.SUCCEEDED
    failed = site.ship("token", {"wsgi.py": NEEDS_TOKEN})
    assert shown(failed) == (
        "the app does not start from this commit: KeyError: 'API_TOKEN'",
        f"${{EDITOR:-vi}} {variables}",
    )
    assert reconcile_app(site, "token").verdict is Verdict.QUARANTINED
    assert "until the app or its variables are edited" in hookd(site, "why", "token")
    variables.write_text("API_TOKENS=1\n")
    again = ending(site, reconcile_app(site, "token"))
    assert (again.status, again.commit) == (Status.FAILED, failed.commit)
    assert reconcile_app(site, "token").verdict is Verdict.QUARANTINED
    variables.write_text("API_TOKEN=1\n")
    assert ending(site, reconcile_app(site, "token")).status is Status.SUCCEEDED


def test_edit_repeats_no_broken_commit(site: Installation) -> None:
    site.ship("token", app_files("three"))
    assert site.ship("token", {"wsgi.py": "def app(:"}).status is Status.FAILED
    site.change_app("token", limits={"keep_releases": 7})
    assert reconcile_app(site, "token").verdict is Verdict.QUARANTINED


def test_edit_repeats_a_first_release(site: Installation) -> None:
    """It replaced no good release. A later one that visitors may have seen stays out."""
    bad = WSGI.format(version="one", health="500 No")
    assert site.ship("first", {**app_files("one"), "wsgi.py": bad}).status is Status.FAILED
    assert reconcile_app(site, "first").verdict is Verdict.QUARANTINED
    site.change_app("first", limits={"keep_releases": 7})
    assert ending(site, reconcile_app(site, "first")).status is Status.FAILED
    assert site.ship("first", app_files("one")).status is Status.SUCCEEDED
    assert site.ship("first", {"wsgi.py": bad}).status is Status.ROLLED_BACK
    site.change_app("first", limits={"keep_releases": 8})
    assert reconcile_app(site, "first").verdict is Verdict.QUARANTINED
