"""A rollback pins its commit until a newer commit or `hookd unpin`."""

import os
import signal
from typing import Any

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import Pinned, decode, fold
from hookd.queue.published import AppStatusStore
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for
from tests.support.typed import hookd

APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "restart"} for name in ("stays", "ends", "twice", "once", "frozen", "bad")},
    **{"colours": {"handover": "blue-green"}},
}


def gone_back(site: Installation, app: str) -> tuple[Deployment, Deployment]:
    """Deploy two versions, roll back to the first, and return the deployments of both."""
    one, two = (site.ship(app, app_files(version)) for version in ("one", "two"))
    assert site.deploy(app, Trigger.ROLLBACK).status is Status.SUCCEEDED
    return one, two


def journal(site: Installation, app: str) -> list[str]:
    """Return the lines of an app's journal."""
    return (site.directory / "state" / "journals" / f"{app}.jsonl").read_text().splitlines()


@pytest.mark.threat(43)
@pytest.mark.promise(45)
def test_repeated_head_keeps_rollback(site: Installation) -> None:
    """A redelivery or a reconcile of the same head does not undo it."""
    one, two = gone_back(site, "stays")
    for trigger in (Trigger.PUSH, Trigger.UPDATE, Trigger.REDELIVERY, Trigger.RECONCILE):
        held = site.deploy("stays", trigger)
        assert (held.status, site.serving("stays")) == (Status.UNCHANGED, "one"), trigger
        assert str(held.cause).startswith(f"a person pinned {str(one.commit)[:12]} while {str(two.commit)[:12]} was")
        assert held.hint == Hint(HintKind.UNPIN)
    for delivery in ("same", "same", "another"):
        assert site.wait_for_ending(site.send_push("stays", delivery=delivery)["deployment"]).status is Status.UNCHANGED
    assert site.serving("stays") == "one"


def test_status_shows_pin(site: Installation) -> None:
    shown = hookd(site, "status", "stays").stdout
    pinned = AppStatusStore(site.records.connection).read("stays").pinned_commit
    assert pinned is not None
    assert f"  pinned to {pinned[:12]} until a newer push\n" in shown
    assert "  next: push a newer commit, or follow the branch again: hookd unpin stays\n" in shown


@pytest.mark.threat(43)
def test_newer_commit_ends_pin(site: Installation) -> None:
    """Also a commit that reverts to what serves."""
    gone_back(site, "ends")
    newer = site.ship("ends", app_files("one"))
    assert (newer.status, AppStatusStore(site.records.connection).read("ends").pinned_commit) == (
        Status.SUCCEEDED,
        None,
    )


@pytest.mark.promise(25, 27)
def test_unpin_deploys_head(site: Installation) -> None:
    gone_back(site, "once")
    done = hookd(site, "unpin", "once")
    assert (done.returncode, site.serving("once")) == (0, "two"), done.stderr
    assert AppStatusStore(site.records.connection).read("once").pinned_commit is None
    record = site.records.history("once", 1)[0]
    assert (record.trigger, "no longer pinned to" in site.log_of(record)) == (Trigger.UNPIN, True)
    again = site.deploy("once", Trigger.UNPIN)
    assert (again.status, site.serving("once")) == (Status.UNCHANGED, "two"), "there is nothing to unpin"


@pytest.mark.promise(25)
def test_unpin_keeps_quarantine(site: Installation) -> None:
    gone_back(site, "bad")
    assert site.ship("bad", app_files("bad", "500 Oops")).status is Status.ROLLED_BACK
    record = site.deploy("bad", Trigger.UNPIN)
    assert (record.status, site.serving("bad")) == (Status.UNCHANGED, "one")
    assert "is quarantined since" in str(record.cause)


@pytest.mark.threat(43)
def test_unpin_beside_waiting_push(site: Installation) -> None:
    gone_back(site, "twice")
    gate = site.directory / "gate"
    os.mkfifo(gate)
    site.change_app("twice", build={"commands": [["cat", str(gate)]]})
    running = site.deploy_later("twice", Trigger.MANUAL)
    site.wait_for_step(running, "build")
    waiting = site.deploy_later("twice", Trigger.PUSH)
    unpin = site.deploy_later("twice", Trigger.UNPIN)
    joined = site.deploy_later("twice", Trigger.PUSH)
    assert (waiting != unpin, joined) == (True, unpin)
    site.change_app("twice", build={"commands": []})
    gate.write_text("go on")
    assert site.wait_for_ending(unpin).trigger is Trigger.UNPIN
    assert site.records.get(waiting).status is Status.SUPERSEDED


@pytest.mark.threat(43)
@pytest.mark.parametrize("app", ["stays", "colours"])
def test_rollback_and_pin_are_atomic(site: Installation, app: str) -> None:
    """The journal never holds a rollback without its pin."""
    if app == "colours":
        gone_back(site, app)
    lines = journal(site, app)
    back = next(place for place, event in enumerate(decode(lines)) if isinstance(event, Pinned))
    states = [fold(decode(lines[:end])) for end in range(back, len(lines) + 1)]
    pinned = fold(decode(lines)).pin
    assert pinned is not None
    gone = [state for state in states if state.verified and state.deployed and state.deployed.commit == pinned.commit]
    assert gone
    assert all(state.pin is not None for state in gone)


@pytest.mark.threat(43)
def test_killed_rollback_keeps_old_pin(site: Installation) -> None:
    app = "frozen"
    site.ship(app, app_files("zero"))
    one, _ = gone_back(site, app)
    site.change_app(app, health={"successes": 100, "steady": 60, "deadline": 120})
    asked = site.deploy_later(app, Trigger.ROLLBACK)
    site.wait_for_step(asked, "health")
    os.kill(site.deployer(app), signal.SIGKILL)
    wait_for(lambda: site.records.get(asked).ended, what="its ending")
    site.change_app(app, health={"successes": 1, "steady": 0.1, "deadline": 20})
    site.push_and_wait(app)
    assert (site.serving(app), AppStatusStore(site.records.connection).read(app).pinned_commit) == ("one", one.commit)
