"""The choices of an operator: quarantine, redelivery, manual deployment, rollback and pins."""

from typing import Any

import pytest

from hookd.model.deployment import Status, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.queue.published import AppStatusStore
from tests.support.installation import Installation, app_files

APPS: dict[str, dict[str, Any]] = {
    name: {"handover": "restart"} for name in ("bad", "refused", "back", "pin", "named", "only", "older")
}
BROKEN = "500 Oops"


@pytest.mark.threat(4, 28)
@pytest.mark.promise(20)
def test_rolled_back_commit_stays_quarantined(site: Installation) -> None:
    site.ship("bad", app_files("good"))
    site.repositories["bad"].commit_and_push(app_files("bad", BROKEN))
    first = site.wait_for_ending(site.send_push("bad", delivery="d-1")["deployment"])
    assert first.status is Status.ROLLED_BACK
    for delivery, trigger in (("d-1", Trigger.REDELIVERY), ("d-2", Trigger.PUSH)):
        again = site.wait_for_ending(site.send_push("bad", delivery=delivery)["deployment"])
        assert (again.trigger, again.status, again.release) == (trigger, Status.UNCHANGED, None)
        assert "is quarantined since" in (again.cause or "")
        assert again.hint == Hint(HintKind.DEPLOY_QUARANTINED)
    assert site.serving("bad") == "good"


@pytest.mark.promise(26)
def test_manual_deploy_ends_quarantine(site: Installation) -> None:
    mended = site.directory / "mended"
    wsgi = str(app_files("late")["wsgi.py"]).replace(
        "'200 OK'", f"'200 OK' if os.path.exists({str(mended)!r}) else '500'"
    )
    site.ship("bad", app_files("good"))
    commit = site.repositories["bad"].commit_and_push({"wsgi.py": wsgi})
    assert site.push_and_wait("bad").status is Status.ROLLED_BACK
    assert site.deploy("bad").status is Status.ROLLED_BACK
    mended.touch()
    by_hand = site.deploy("bad")
    assert (by_hand.status, by_hand.commit, site.serving("bad")) == (Status.SUCCEEDED, commit, "late")
    assert commit not in {entry.commit for entry in AppStatusStore(site.records.connection).read("bad").quarantined}


@pytest.mark.promise(24)
def test_redelivery_retries_unstarted_commit(site: Installation) -> None:
    needed = site.directory / "needed"
    wsgi = f"open({str(needed)!r})\n{app_files('read')['wsgi.py']!s}"
    site.repositories["refused"].commit_and_push({**app_files("read"), "wsgi.py": wsgi})
    failed = site.wait_for_ending(site.send_push("refused", delivery="r-1")["deployment"])
    assert failed.status is Status.FAILED
    assert site.wait_for_ending(site.send_push("refused", delivery="r-2")["deployment"]).status is Status.UNCHANGED
    needed.touch()
    again = site.wait_for_ending(site.send_push("refused", delivery="r-1")["deployment"])
    assert (again.status, again.trigger, site.serving("refused")) == (Status.SUCCEEDED, Trigger.REDELIVERY, "read")
    assert site.send_push("refused", delivery="r-1")["deployment"] == again.id


@pytest.mark.promise(46)
def test_rollback_uses_previous_release(site: Installation) -> None:
    one = site.ship("back", app_files("one"))
    site.ship("back", app_files("two"))
    back = site.deploy("back", Trigger.ROLLBACK)
    assert (back.status, back.release, site.serving("back")) == (Status.SUCCEEDED, one.release, "one")
    assert "dependencies" not in {step.name for step in back.steps}
    assert AppStatusStore(site.records.connection).read("back").pinned_commit == one.commit


@pytest.mark.promise(27)
def test_pin_until_newer_commit(site: Installation) -> None:
    one = site.ship("pin", app_files("one"))
    two = site.ship("pin", app_files("two"))
    site.deploy("pin", Trigger.ROLLBACK)
    held = site.push_and_wait("pin")
    assert (held.status, site.serving("pin")) == (Status.UNCHANGED, "one")
    assert held.cause == f"a person pinned {_short(one.commit)} while {_short(two.commit)} was the branch's head"
    three = site.ship("pin", app_files("three"))
    assert (three.status, site.serving("pin")) == (Status.SUCCEEDED, "three")
    assert AppStatusStore(site.records.connection).read("pin").pinned_commit is None


@pytest.mark.promise(27)
def test_manual_deploy_ends_pin(site: Installation) -> None:
    site.ship("pin", app_files("four"))
    site.ship("pin", app_files("five"))
    assert site.deploy("pin", Trigger.ROLLBACK).status is Status.SUCCEEDED
    by_hand = site.deploy("pin")
    assert (by_hand.status, site.serving("pin")) == (Status.SUCCEEDED, "five")
    assert AppStatusStore(site.records.connection).read("pin").pinned_commit is None


@pytest.mark.promise(44)
def test_named_commit_is_pinned(site: Installation) -> None:
    one = site.ship("named", app_files("one"))
    site.ship("named", app_files("two"))
    assert one.commit is not None
    chosen = site.deploy("named", pinned_commit=one.commit[:9])
    assert (chosen.status, chosen.commit, site.serving("named")) == (Status.SUCCEEDED, one.commit, "one")
    assert chosen.release != one.release
    assert site.push_and_wait("named").status is Status.UNCHANGED
    assert site.serving("named") == "one"


def test_unknown_commit(site: Installation) -> None:
    site.ship("named", app_files("good"))
    unknown = site.deploy("named", pinned_commit="0123456789abcdef")
    assert (unknown.status, site.serving("named")) == (Status.FAILED, "good")
    assert (unknown.cause or "").startswith("the commit 0123456789abcdef is not in ")


def test_rollback_to_named_commit(site: Installation) -> None:
    oldest, *_ = [site.ship("older", app_files(version)) for version in ("one", "two", "three")]
    back = site.deploy("older", Trigger.ROLLBACK, pinned_commit=oldest.commit)
    assert (back.status, back.release, site.serving("older")) == (Status.SUCCEEDED, oldest.release, "one")


def test_rollback_without_target(site: Installation) -> None:
    site.ship("only", app_files("one"))
    back = site.deploy("only", Trigger.ROLLBACK)
    assert (back.status, site.serving("only")) == (Status.FAILED, "one")
    assert (back.cause, back.hint) == (
        "there is no earlier good release to go back to",
        Hint(HintKind.NAME_COMMIT),
    )


def _short(commit: str | None) -> str:
    return (commit or "")[:12]
