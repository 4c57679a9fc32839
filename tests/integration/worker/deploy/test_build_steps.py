"""The app's own commands, harmful commits, and what they leave: variables, logs, failures and the old release."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status
from hookd.model.hint import HintKind
from hookd.queue.published import read_decisions
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for

APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "restart"} for name in ("secret", "fails", "order")},
    "leak": {},
    "lost": {"service": {"name": "nobody-knows-me"}},
    "lost-one": {"handover": "restart", "service": {"name": "nobody-knows-me-either"}},
}
TOKEN = "correct-horse-battery-staple"

# Starts a child that sleeps too, and writes down both process ids.
HANG = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
while True:
    time.sleep(0.1)
    sys.argv[2:] and print("still at it", flush=True)
"""


def test_build_commands(site: Installation) -> None:
    words = ["a word", "$HOME; touch /tmp/x", "*", "--flag", "'\"", "über"]
    show = "import sys, json; json.dump([sys.prefix, *sys.argv[1:]], open('seen.json', 'w'))"
    site.change_app("order", build={"commands": [["python", "-c", show, *words], ["cp", "seen.json", "again.json"]]})
    deployment = site.ship("order", app_files("one"))
    assert deployment.status is Status.SUCCEEDED
    release = site.current("order")
    prefix, *seen = json.loads((release / "again.json").read_text())
    assert os.path.realpath(prefix) == os.path.realpath(release / "venv")
    assert seen == words


def test_variables_and_log_redaction(site: Installation) -> None:
    file = site.directory / "secret.env"
    file.write_text(f"# for people\nAPI_TOKEN='{TOKEN}'\nGREETING=good day\n")
    show = "import os; print(os.environ['GREETING'], os.environ['API_TOKEN']); print(sorted(os.environ))"
    commands = [["python", "-c", show]]
    build = {"commands": commands, "environment_file": file}
    site.change_app("secret", build=build, release={"commands": commands}, service={"environment_file": file})
    deployment = site.ship("secret", app_files("one"))
    log = site.log_of(deployment)
    assert deployment.status is Status.SUCCEEDED
    assert log.count("good day ***") == 2
    assert TOKEN not in log
    assert "HOOKD_CONFIG" not in log
    assert "'HOOKD_COMMIT'" in log


def test_record_redaction(site: Installation) -> None:
    file = site.directory / "failing.env"
    file.write_text(f"DATABASE_PASSWORD={TOKEN}\n")
    fail = ["python", "-c", "import os, sys; sys.exit('cannot log in with ' + os.environ['DATABASE_PASSWORD'])"]
    site.change_app("secret", build={"commands": [fail], "environment_file": file}, release={"commands": []})
    deployment = site.ship("secret", app_files("two"))
    assert deployment.status is Status.FAILED
    assert deployment.cause == "python ended with status 1: cannot log in with ***"
    assert TOKEN not in deployment.model_dump_json() + site.log_of(deployment)


def test_unreadable_variables_file(site: Installation) -> None:
    file = site.directory / "missing.env"
    site.change_app("secret", build={"commands": [], "environment_file": file})
    deployment = site.ship("secret", app_files("three"))
    assert deployment.status is Status.FAILED
    assert (deployment.cause or "").startswith(f"the app's variables in {file} cannot be read")
    decision, *_ = read_decisions(site.records.connection, "secret", 1)
    assert (decision.source, decision.deployment) == ("deployment", deployment.id)


@pytest.mark.promise(19)
@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("print('3 errors'); raise SystemExit(7)", "python ended with status 7: 3 errors"),
        ("open('/dev/tty')", "python ended with status 1: OSError"),
    ],
    ids=["says why", "asks a terminal"],
)
def test_old_release_serves_after_failed_build(site: Installation, code: str, cause: str) -> None:
    bad = _fail_with(site, {"commands": [["python", "-c", code]]})
    assert (bad.cause or "").startswith(cause)
    assert site.push_and_wait("fails").status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("limits", "talk", "cause"),
    [
        ({"silence_seconds": 1.5}, [], "python printed nothing for 1.5 s and was stopped (limits.silence_seconds)"),
        ({"step_seconds": 2.5}, ["talk"], "python ran longer than 2.5 s and was stopped (limits.step_seconds)"),
    ],
    ids=["falls silent", "never ends"],
)
def test_hanging_build_is_stopped(
    site: Installation, tmp_path: Path, limits: dict[str, float], talk: list[str], cause: str
) -> None:
    book = tmp_path / "processes"
    bad = _fail_with(site, {"commands": [["python", "-c", HANG, str(book), *talk]]}, limits)
    assert bad.cause == cause
    wait_for(lambda: not any(_lives(pid) for pid in book.read_text().split()), what="the end of the build's processes")


@pytest.mark.threat(30)
def test_nearly_full_disk_before_fetch(site: Installation) -> None:
    full = _fail_with(site, {}, {"free_mib": 2**40})
    assert [step.name for step in full.steps] == ["disk_space"]
    assert f"MiB free, {2**40} are asked for" in (full.cause or "")
    assert full.hint is not None and full.hint.kind is HintKind.SHOW_DISK_SPACE


@pytest.mark.threat(33)
def test_old_release_serves_after_failed_install(site: Installation) -> None:
    bad = _fail_with(site, {}, {}, app_files("two", requirements="gunicorn==27.0.1\nflask===0.0.no-such\n"))
    assert (bad.cause or "").startswith("the dependencies of requirements.txt cannot be installed: ")
    assert not site.status("fails").quarantined, "the commit stays innocent"
    assert site.ship("fails", app_files("three")).status is Status.SUCCEEDED


def test_secret_in_app_error(site: Installation) -> None:
    file = site.directory / "leak.env"
    file.write_text("MY_TOKEN=hunter2-but-longer\n")
    site.change_app("leak", service={"environment_file": file})
    record = site.ship(
        "leak", {"wsgi.py": 'import os\nraise RuntimeError("\\x1b]0;title\\x07" + os.environ["MY_TOKEN"])\n'}
    )
    again = site.push_and_wait("leak")
    assert (record.status, again.status) == (Status.FAILED, Status.UNCHANGED)
    journal = (site.directory / "state" / "journals" / "leak.jsonl").read_text()
    view = site.status("leak").model_dump_json()
    for text in (journal, view, record.model_dump_json(), again.model_dump_json(), site.log_of(record)):
        assert "hunter2" not in text
        assert "\\u001b" not in text
        assert "\x1b" not in text
    assert "***" in journal


@pytest.mark.parametrize("app", ["lost", "lost-one"])
def test_unknown_service(site: Installation, app: str) -> None:
    record = site.ship(app, {"wsgi.py": ""})
    assert record.status is Status.FAILED
    assert "circus knows no service nobody-knows-me" in (record.cause or "")
    assert site.status(app).quarantined == ()


@pytest.mark.threat(60)
def test_path_of_thousand_levels(site: Installation) -> None:
    bad = _fail_with(site, {}, {}, {"d/" * 150 + "file": "deep"})
    shutil.rmtree(site.repositories["fails"].work / "d")
    assert "levels" in (bad.cause or "")
    assert site.ship("fails", app_files("flat")).status is Status.SUCCEEDED


def _fail_with(
    site: Installation,
    build: dict[str, Any],
    limits: dict[str, float] | None = None,
    files: dict[str, str | bytes | None] | None = None,
) -> Deployment:
    """Deploy a commit that fails with other settings or files, check that the old one serves, and set them back."""
    app = "fails"
    if not (site.root(app) / "current").exists():
        site.ship(app, app_files("0"))
    before = site.serving(app)
    site.change_app(app, build=build, limits=limits or {})
    bad = site.ship(app, files or app_files(f"{before} and more"))
    assert (bad.status, site.serving(app)) == (Status.FAILED, before)
    usual = {"silence_seconds": 120, "step_seconds": 600, "free_mib": 1}
    site.change_app(app, build={"commands": []}, limits=usual)
    return bad


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
