"""The worker with killed deployments, broken configurations and old records."""

import http.client
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.queue.deployments import DeploymentRequest
from hookd.queue.published import read_decisions
from tests.support.installation import WSGI, Installation, app_files
from tests.support.processes import wait_for

APPS: dict[str, dict[str, Any]] = {"plain": {"handover": "restart"}, "hurry": {"handover": "blue-green"}}
KEPT = 3
SETTINGS = {"history": {"keep": KEPT}}

# Says that it has begun, and does not end by itself.
SLEEP = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
time.sleep(60)
"""


def ship_first(site: Installation) -> str:
    """Deploy the app unless something serves, and return what serves."""
    if not (site.root("plain") / "current").exists():
        site.ship("plain", app_files("first"))
    return site.serving("plain")


def test_killed_deployment_is_retried(site: Installation) -> None:
    book = site.directory / "killed.pid"
    ship_first(site)
    site.change_app("plain", build={"commands": [["python", "-c", SLEEP, str(book)]]})
    site.repositories["plain"].commit_and_push(app_files("two"))
    deployment = site.send_push("plain")["deployment"]
    wait_for(lambda: book.exists() and book.read_text(), what="the build")
    site.change_app("plain", build={"commands": []})
    os.kill(site.deployer("plain"), signal.SIGKILL)
    killed = site.wait_for_ending(deployment, 5)
    assert (killed.status, killed.cause) == (Status.FAILED, "the deploying process was killed")
    wait_for(lambda: not Path(f"/proc/{book.read_text()}").exists(), what="the end of the build")
    wait_for(lambda: site.records.history("plain", 1)[0].id != deployment, what="the next deployment")
    again = site.wait_for_ending(site.records.history("plain", 1)[0].id)
    assert (again.trigger, again.previous_commit) == (Trigger.RECONCILE, killed.previous_commit)
    assert (again.status, site.serving("plain")) == (Status.SUCCEEDED, "two")
    assert not list((site.root("plain") / "releases").glob(".*"))


def test_unknown_app_fails_with_its_name(site: Installation) -> None:
    ghost = site.deploy("ghost")
    assert (ghost.status, ghost.cause) == (Status.FAILED, "the app ghost is not in the catalogue any more")
    assert site.ship("plain", app_files("after the ghost")).status is Status.SUCCEEDED


def test_removed_app_serves_on(site: Installation) -> None:
    serving = ship_first(site)
    file = site.directory / "apps" / "plain.toml"
    text = file.read_text()
    file.unlink()
    gone = site.ship("plain", app_files("gone"))
    cause = "the app plain is not in the catalogue any more"
    assert (gone.status, gone.cause, gone.hint) == (Status.FAILED, cause, Hint(HintKind.SHOW_STATUS))
    decision, *_ = read_decisions(site.records.connection, "plain", 1)
    assert (decision.deployment, decision.ending, decision.why) == (gone.id, Status.FAILED, cause)
    assert site.serving("plain") == serving
    file.write_text(text)
    assert site.push_and_wait("plain").status is Status.SUCCEEDED
    assert site.serving("plain") == "gone"


@pytest.mark.threat(74)
def test_broken_app_file_is_named(site: Installation) -> None:
    broken = site.directory / "apps" / "plain.toml"
    right = broken.read_text()
    broken.write_text(f'speed = "high"\n{right}')
    failed = site.ship("plain", app_files("two"))
    assert failed.status is Status.FAILED
    assert (failed.cause or "").startswith(f"the configuration cannot be used: {broken}: ")
    broken.write_text(right)
    assert site.push_and_wait("plain").status is Status.SUCCEEDED
    assert site.serving("plain") == "two"


@pytest.mark.threat(74)
@pytest.mark.promise(67)
def test_broken_file_harms_no_other_app(site: Installation) -> None:
    broken = site.directory / "apps" / "another.toml"
    broken.write_text('repository = "https://git.example.org/a.git"\nspeed = "high"\n')
    ended = site.ship("plain", app_files("two and a half"))
    broken.unlink()
    assert ended.status is Status.SUCCEEDED


def test_broken_settings_file_is_named(site: Installation) -> None:
    text = site.config_path.read_text()
    site.config_path.write_text("[redis\n")
    failed = site.ship("plain", app_files("three"))
    site.config_path.write_text(text)
    assert failed.status is Status.FAILED
    assert (failed.cause or "").startswith(f"the configuration cannot be used: {site.config_path}: not TOML")
    assert site.push_and_wait("plain").status is Status.SUCCEEDED


def test_old_history_is_removed(site: Installation) -> None:
    made = [site.push_and_wait("plain").id for _ in range(KEPT + 2)]
    logs = site.directory / "state" / "logs" / "plain"
    wait_for(lambda: len(list(logs.iterdir())) <= KEPT, what="tidying up")
    assert sorted(path.stem for path in logs.iterdir()) == made[-KEPT:]
    assert [record.id for record in site.records.history("plain", 100)] == made[: -KEPT - 1 : -1]
    assert site.records.find(made[0]) is None


def test_health_check_timeout_rolls_back(site: Installation) -> None:
    serving = ship_first(site)
    slow = str(app_files("slow")["wsgi.py"]).replace(
        "start_response('200 OK'", "start_response('200 OK' if environ['SERVER_SOFTWARE'] == 'hookd-health' else '503'"
    )
    site.repositories["plain"].commit_and_push({"wsgi.py": slow})
    site.change_app("plain", health={"deadline": 60}, limits={"deploy_seconds": 8})
    asked = site.records.request(DeploymentRequest(app="plain", trigger=Trigger.PUSH, seconds=8))
    late = site.wait_for_ending(asked.deployment)
    site.change_app("plain", health={"deadline": 20}, limits={"deploy_seconds": 1800})
    assert late.status is Status.ROLLED_BACK
    assert re.fullmatch(r"the deployment took longer than 8 s; \S+ serves again", late.cause or "")
    assert site.serving("plain") == serving


def test_timeout_after_the_switch_is_ignored(site: Installation) -> None:
    """The old colour lets a request of 14 seconds end. The deployment may take 12."""
    answer = '    start_response("200 OK"'
    wait = '    if environ["PATH_INFO"] == "/slow":\n        time.sleep(14)\n'
    wsgi = WSGI.format(version="one", health="200 OK").replace(answer, wait + answer)
    slow = {**app_files("one"), "wsgi.py": f"import time\n{wsgi}"}
    assert site.ship("hurry", slow).status is Status.SUCCEEDED
    visitor = http.client.HTTPConnection("127.0.0.1", site.ports["hurry"], timeout=60)
    visitor.request("GET", "/slow")
    site.repositories["hurry"].commit_and_push(app_files("two"))
    asked = site.records.request(DeploymentRequest(app="hurry", trigger=Trigger.PUSH, seconds=12))
    record = site.wait_for_ending(asked.deployment)
    assert visitor.getresponse().read() == b"one"
    visitor.close()
    assert (record.status, site.serving("hurry")) == (Status.SUCCEEDED, "two")
