"""The choices of an operator: quarantine, redelivery, manual deployment, rollback, pins and unpin.

A rollback pins its commit until a newer commit or `hookd unpin`.
"""

import os
import signal
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import Built, Good, Pinned, Switched, decode, fold
from tests.support.installation import Installation, app_files
from tests.support.processes import wait_for
from tests.support.tasks import deploying, make_app
from tests.support.typed import hookd
from worker.deploy.target import choose_target
from worker.errors import DeployError
from worker.release.git_mirror import GitMirror

APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "restart"} for name in ("bad", "named", "back", "ends")},
    **{"colours": {"handover": "blue-green"}},
}
VERSIONS = count(1)


class Back(NamedTuple):
    """A rollback from a newer deployment, and the versions that the two serve."""

    rollback: Deployment
    newer: Deployment
    old: str
    new: str


def go_back(site: Installation, app: str) -> Back:
    """Deploy a newer version of an app and roll back."""
    ship_first(site, app)
    new = f"version {next(VERSIONS)}"
    newer, rollback = site.ship(app, app_files(new)), site.deploy(app, Trigger.ROLLBACK)
    assert (newer.status, rollback.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    return Back(rollback, newer, site.serving(app), new)


def ship_first(site: Installation, app: str) -> str:
    """Deploy an app unless something serves, and return what serves."""
    if not (site.root(app) / "current").exists():
        assert site.ship(app, app_files("first")).status is Status.SUCCEEDED
    return site.serving(app)


@pytest.fixture(scope="module")
def back(site: Installation) -> Back:
    """An app after its first rollback, for tests that leave it so."""
    return go_back(site, "back")


def short(commit: str | None) -> str:
    return (commit or "")[:12]


@pytest.mark.threat(4, 28)
@pytest.mark.promise(20, 26)
def test_quarantine_until_manual_deploy(site: Installation) -> None:
    repaired = site.directory / "repaired"
    wsgi = str(app_files("late")["wsgi.py"]).replace(
        "'200 OK'", f"'200 OK' if os.path.exists({str(repaired)!r}) else '500'"
    )
    serving = ship_first(site, "bad")
    commit = site.repositories["bad"].commit_and_push({"wsgi.py": wsgi})
    first = site.wait_for_ending(site.send_push("bad", delivery="d-1")["deployment"])
    assert first.status is Status.ROLLED_BACK
    for delivery, trigger in (("d-1", Trigger.REDELIVERY), ("d-2", Trigger.PUSH)):
        again = site.wait_for_ending(site.send_push("bad", delivery=delivery)["deployment"])
        assert (again.trigger, again.status, again.release) == (trigger, Status.UNCHANGED, None)
        assert "has been quarantined since" in (again.cause or "")
        assert again.hint == Hint(HintKind.DEPLOY)
    assert site.serving("bad") == serving
    repaired.touch()
    by_hand = site.deploy("bad")
    assert (by_hand.status, by_hand.commit, site.serving("bad")) == (Status.SUCCEEDED, commit, "late")
    assert commit not in {entry.commit for entry in site.status("bad").quarantined}


@pytest.mark.promise(24)
def test_redelivery_retries_unstarted_commit(site: Installation) -> None:
    needed = site.directory / "needed"
    wsgi = f"open({str(needed)!r})\n{app_files('read')['wsgi.py']!s}"
    site.repositories["bad"].commit_and_push({**app_files("read"), "wsgi.py": wsgi})
    failed = site.wait_for_ending(site.send_push("bad", delivery="r-1")["deployment"])
    assert failed.status is Status.FAILED
    assert site.wait_for_ending(site.send_push("bad", delivery="r-2")["deployment"]).status is Status.UNCHANGED
    needed.touch()
    again = site.wait_for_ending(site.send_push("bad", delivery="r-1")["deployment"])
    assert (again.status, again.trigger, site.serving("bad")) == (Status.SUCCEEDED, Trigger.REDELIVERY, "read")
    assert site.send_push("bad", delivery="r-1")["deployment"] == again.id


@pytest.mark.promise(44)
def test_named_commit_is_pinned(site: Installation) -> None:
    """A rollback to a named commit uses the release that is there."""
    one, two = (site.ship("named", app_files(version)) for version in ("one", "two"))
    assert one.commit is not None
    chosen = site.deploy("named", pinned_commit=one.commit[:9])
    assert (chosen.status, chosen.commit, site.serving("named")) == (Status.SUCCEEDED, one.commit, "one")
    assert chosen.release != one.release
    assert site.push_and_wait("named").status is Status.UNCHANGED
    assert site.serving("named") == "one"
    site.ship("named", app_files("three"))
    back = site.deploy("named", Trigger.ROLLBACK, pinned_commit=two.commit)
    assert (back.status, back.release, site.serving("named")) == (Status.SUCCEEDED, two.release, "two")


def test_unknown_commit(site: Installation) -> None:
    serving = ship_first(site, "named")
    unknown = site.deploy("named", pinned_commit="0123456789abcdef")
    assert (unknown.status, site.serving("named")) == (Status.FAILED, serving)
    assert (unknown.cause or "").startswith("the commit 0123456789abcdef is not in ")


def test_rollback_without_target(tmp_path: Path) -> None:
    app, commit, release = make_app(tmp_path), "1" * 40, f"000001-{'1' * 12}"
    with deploying(tmp_path, app, trigger=Trigger.ROLLBACK) as at:
        stamp: dict[str, Any] = {**at.task.stamp(), "release": release}
        state = at.task.journal.add(Built(**stamp, commit=commit), Switched(**stamp), Good(**stamp))
        mirror = GitMirror(app, at.task.settings, at.task.recorder.line)
        with pytest.raises(DeployError, match="there is no earlier good release to go back to") as caught:
            choose_target(at.task, state, mirror, commit)
    assert caught.value.hint == Hint(HintKind.NAME_COMMIT)


@pytest.mark.promise(46)
def test_rollback_uses_previous_release(site: Installation, back: Back) -> None:
    rollback = back.rollback
    assert (rollback.release, site.serving("back")) == (f"000001-{short(rollback.commit)}", "first")
    assert "dependencies" not in {step.name for step in rollback.steps}
    assert site.status("back").pinned_commit == rollback.commit != back.newer.commit


@pytest.mark.threat(43)
@pytest.mark.promise(27, 45)
def test_repeated_head_keeps_rollback(site: Installation, back: Back) -> None:
    """A redelivery or a reconcile of the same head does not undo it."""
    for trigger in (Trigger.PUSH, Trigger.UPDATE, Trigger.REDELIVERY, Trigger.RECONCILE):
        held = site.deploy("back", trigger)
        assert (held.status, site.serving("back")) == (Status.UNCHANGED, back.old), trigger
        pinned, head = short(back.rollback.commit), short(back.newer.commit)
        assert held.cause == f"{pinned} is pinned until a newer commit than {head}"
        assert held.hint == Hint(HintKind.UNPIN)
    for delivery in ("same", "same", "another"):
        assert site.wait_for_ending(site.send_push("back", delivery=delivery)["deployment"]).status is Status.UNCHANGED
    assert site.serving("back") == back.old


def test_status_shows_pin(site: Installation, back: Back) -> None:
    shown = hookd(site, "status", "back").stdout
    assert f"  pinned to {short(back.rollback.commit)} until a newer push\n" in shown
    assert "  next: hookd unpin back\n" in shown


@pytest.mark.threat(43)
@pytest.mark.parametrize("app", ["back", "colours"])
def test_rollback_and_pin_are_atomic(site: Installation, back: Back, app: str) -> None:
    """The journal never holds a rollback without its pin."""
    if app == "colours":
        go_back(site, app)
    lines = (site.directory / "state" / "journals" / f"{app}.jsonl").read_text().splitlines()
    first = next(place for place, event in enumerate(decode(lines)) if isinstance(event, Pinned))
    states = [fold(decode(lines[:end])) for end in range(first, len(lines) + 1)]
    pinned = fold(decode(lines)).pin
    assert pinned is not None
    gone = [state for state in states if state.verified and state.deployed and state.deployed.commit == pinned.commit]
    assert gone
    assert all(state.pin is not None for state in gone)


@pytest.mark.threat(43)
@pytest.mark.promise(27)
def test_newer_commit_ends_pin(site: Installation) -> None:
    """Also a commit that reverts to what serves."""
    back = go_back(site, "ends")
    newer = site.ship("ends", app_files(back.old))
    assert (newer.status, site.serving("ends"), site.status("ends").pinned_commit) == (
        Status.SUCCEEDED,
        back.old,
        None,
    )


@pytest.mark.promise(27)
def test_manual_deploy_ends_pin(site: Installation) -> None:
    back = go_back(site, "ends")
    by_hand = site.deploy("ends")
    assert (by_hand.status, site.serving("ends")) == (Status.SUCCEEDED, back.new)
    assert site.status("ends").pinned_commit is None


@pytest.mark.promise(25, 27)
def test_unpin_deploys_head(site: Installation) -> None:
    back = go_back(site, "ends")
    done = hookd(site, "unpin", "ends")
    assert (done.returncode, site.serving("ends")) == (0, back.new), done.stderr
    assert site.status("ends").pinned_commit is None
    record = site.records.history("ends", 1)[0]
    assert (record.trigger, "no longer pinned to" in site.log_of(record)) == (Trigger.UNPIN, True)
    again = site.deploy("ends", Trigger.UNPIN)
    assert (again.status, site.serving("ends")) == (Status.UNCHANGED, back.new), "there is nothing to unpin"


@pytest.mark.promise(25)
def test_unpin_keeps_quarantine(site: Installation) -> None:
    back = go_back(site, "ends")
    assert site.ship("ends", app_files("bad", "500 Oops")).status is Status.ROLLED_BACK
    record = site.deploy("ends", Trigger.UNPIN)
    assert (record.status, site.serving("ends")) == (Status.UNCHANGED, back.old)
    assert "has been quarantined since" in str(record.cause)


@pytest.mark.threat(43)
def test_unpin_beside_waiting_push(site: Installation) -> None:
    go_back(site, "ends")
    gate = site.directory / "gate"
    os.mkfifo(gate)
    site.change_app("ends", build={"commands": [["cat", str(gate)]]})
    running = site.deploy_later("ends", Trigger.MANUAL)
    site.wait_for_step(running, "build")
    waiting = site.deploy_later("ends", Trigger.PUSH)
    unpin = site.deploy_later("ends", Trigger.UNPIN)
    coalesced = site.deploy_later("ends", Trigger.PUSH)
    assert (waiting != unpin, coalesced) == (True, unpin)
    site.change_app("ends", build={"commands": []})
    gate.write_text("go on")
    assert site.wait_for_ending(unpin).trigger is Trigger.UNPIN
    assert site.records.get(waiting).status is Status.SUPERSEDED


@pytest.mark.threat(43)
def test_killed_rollback_keeps_old_pin(site: Installation) -> None:
    app = "ends"
    site.ship(app, app_files(f"version {next(VERSIONS)}"))
    site.ship(app, app_files(f"version {next(VERSIONS)}"))
    back = go_back(site, app)
    site.change_app(app, health={"successes": 100, "steady": 60, "deadline": 120})
    asked = site.deploy_later(app, Trigger.ROLLBACK)
    site.wait_for_step(asked, "health")
    os.kill(site.deployer(app), signal.SIGKILL)
    wait_for(lambda: site.records.get(asked).ended, what="its ending")
    site.change_app(app, health={"successes": 1, "steady": 0.1, "deadline": 20})
    site.push_and_wait(app)
    assert (site.serving(app), site.status(app).pinned_commit) == (back.old, back.rollback.commit)
