"""The release phase: before the switch, at most once per commit by itself, and never for a rollback."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for

APPS: dict[str, dict[str, Any]] = {
    name: {"handover": "restart"} for name in ("order", "fails", "again", "back", "once", "killed", "missing")
}

# Writes down for which release it runs, and what serves meanwhile.
MIGRATE = """
import os, sys
with open(sys.argv[1], "a") as file:
    print(os.environ["HOOKD_RELEASE"], os.path.realpath(sys.argv[2]), file=file)
"""
HANG = "import sys, time; print('half done', flush=True); time.sleep(600)"


class Migrations:
    """The release commands of an app, and a list of their runs."""

    def __init__(self, site: Installation, app: str, *more: list[str]) -> None:
        self.book = site.directory / f"{app}.migrations"
        current = site.root(app) / "current"
        self.command = ["python", "-c", MIGRATE, str(self.book), str(current)]
        site.change_app(app, release={"commands": [self.command, *more]})

    def runs(self) -> list[list[str]]:
        """Return the release and the serving release of each run."""
        return [line.split() for line in self.book.read_text().splitlines()] if self.book.exists() else []


def fail(text: str) -> list[str]:
    return ["python", "-c", f"raise SystemExit({text!r})"]


def test_release_commands_before_switch(site: Installation) -> None:
    """They run after the build and the checks, and once."""
    migrations = Migrations(site, "order")
    one = site.ship("order", app_files("one"))
    refused = site.ship("order", {**app_files("two"), "wsgi.py": "import no_such_package"})
    two = site.ship("order", app_files("three"))
    assert (one.status, refused.status, two.status) == (Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED)
    first, second = migrations.runs()
    assert (first[0], second[0]) == (one.release, two.release)
    assert Path(second[1]).name == one.release
    names = [step.name for step in two.steps]
    assert names.index("preflight") < names.index("release_commands") < names.index("switch")


@pytest.mark.threat(89)
def test_failed_release_command(site: Installation) -> None:
    """The ending names the commands that ran, and only a person repeats them."""
    site.ship("fails", app_files("one"))
    migrations = Migrations(site, "fails", fail("column is in use"), ["python", "-c", "print('never')"])
    bad = site.ship("fails", app_files("two"))
    assert bad.status is Status.FAILED
    cause = bad.cause or ""
    assert "column is in use" in cause and "half migrated" in cause
    assert cause.index("raise SystemExit") < cause.index("` failed after `")
    assert "switch" not in {step.name for step in bad.steps}
    assert "never" not in site.log_of(bad)
    again = [by_itself(site, "fails", trigger) for trigger in (Trigger.PUSH, Trigger.REDELIVERY, Trigger.RECONCILE)]
    assert {record.status for record in again} == {Status.UNCHANGED}
    assert len(migrations.runs()) == 1
    assert site.deploy("fails").status is Status.FAILED
    assert len(migrations.runs()) == 2
    newer = Migrations(site, "fails")
    assert site.ship("fails", app_files("three")).status is Status.SUCCEEDED
    assert len(newer.runs()) == 3


def by_itself(site: Installation, app: str, trigger: Trigger) -> Deployment:
    """Deploy without a person."""
    return site.deploy(app, trigger)


def test_person_repeats_commands(site: Installation) -> None:
    """The release was bad in its health check, so its commit is deployed again, by a person or after a mend."""
    site.ship("again", app_files("one"))
    migrations = Migrations(site, "again")
    bad = site.ship("again", app_files("two", health="500 No"))
    assert bad.status is Status.ROLLED_BACK
    assert len(migrations.runs()) == 1
    assert by_itself(site, "again", Trigger.RECONCILE).status is Status.UNCHANGED
    assert site.deploy("again").status is Status.ROLLED_BACK
    assert len(migrations.runs()) == 2


@pytest.mark.threat(89)
def test_rollback_runs_no_commands(site: Installation) -> None:
    site.ship("back", app_files("one"))
    migrations = Migrations(site, "back")
    two = site.ship("back", app_files("two"))
    assert two.status is Status.SUCCEEDED
    back = site.deploy("back", Trigger.ROLLBACK)
    assert (back.status, site.serving("back")) == (Status.SUCCEEDED, "one")
    assert len(migrations.runs()) == 1
    assert "the database stays as it is" in site.log_of(back)


def test_commands_run_once_per_commit(site: Installation) -> None:
    """The head comes back after a rollback without a person who asks for its commands."""
    site.ship("once", app_files("one"))
    migrations = Migrations(site, "once")
    assert site.ship("once", app_files("two")).status is Status.SUCCEEDED
    assert site.deploy("once", Trigger.ROLLBACK).status is Status.SUCCEEDED
    again = site.deploy("once", Trigger.UNPIN)
    assert (again.status, site.serving("once")) == (Status.SUCCEEDED, "two")
    assert len(migrations.runs()) == 1
    assert "ran already" in site.log_of(again)


@pytest.mark.threat(89)
def test_interrupted_commands_wait_for_a_person(site: Installation) -> None:
    site.ship("killed", app_files("one"))
    migrations = Migrations(site, "killed", ["python", "-c", HANG])
    site.repositories["killed"].commit_and_push(app_files("two"))
    running = site.send_push("killed")["deployment"]
    site.wait_for_step(running, "release_commands")
    wait_for(lambda: "half done" in site.log_of(site.records.get(running)), what="the second command")
    os.kill(site.deployer("killed"), signal.SIGKILL)
    assert site.wait_for_ending(running).status is Status.FAILED
    after = by_itself(site, "killed", Trigger.RECONCILE)
    assert after.status is Status.UNCHANGED
    assert "interrupted" in (after.cause or "") and "half migrated" in (after.cause or "")
    assert len(migrations.runs()) == 1
    assert (site.status("killed").quarantined[-1].commit, site.serving("killed")) == (after.commit, "one")


def test_missing_program_before_any_command(site: Installation) -> None:
    site.ship("missing", app_files("one"))
    migrations = Migrations(site, "missing", ["no-such-program", "upgrade"])
    bad = site.ship("missing", app_files("two"))
    assert bad.status is Status.FAILED
    assert "no-such-program" in (bad.cause or "")
    assert migrations.runs() == []
    assert not site.status("missing").quarantined, "the configuration is wrong, not the commit"
    Migrations(site, "missing")
    assert site.deploy("missing").status is Status.SUCCEEDED


def test_question_finds_no_terminal(site: Installation) -> None:
    site.ship("order", app_files("four"))
    site.change_app("order", release={"commands": [["python", "-c", "input('Sure? ')"]]})
    bad = site.ship("order", app_files("five"))
    assert bad.status is Status.FAILED
    assert "EOF" in (bad.cause or "")
