"""Commits that do not concern an app are passed over; the next one that does brings them along."""

import json
from collections.abc import Mapping
from typing import Any

from hookd.contract.decision import Verdict
from hookd.contract.deployment import Deployment, Status, Trigger
from hookd.contract.journal import Passed, decode
from hookd.store.decisions import newest
from tests.support.installation import Installation, app_files, gitea_headers

PATHS: Mapping[str, Any] = {"paths": {"exclude": ["docs", "*.md"]}}
APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "restart", **PATHS} for name in ("row", "hand", "first", "bad", "lists", "changed", "back")},
}


def ship(site: Installation, app: str, version: str) -> Deployment:
    """Deploy a version that counts."""
    return site.ship(app, app_files(version))


def passed(site: Installation, app: str) -> list[tuple[str, str]]:
    """What the app's journal says was passed over, and since what."""
    lines = (site.directory / "state" / "journals" / f"{app}.jsonl").read_text().splitlines()
    return [(event.commit, event.base) for event in decode(lines) if isinstance(event, Passed)]


def test_commits_that_do_not_matter_are_passed_over_until_one_comes_that_does(site: Installation) -> None:
    one = ship(site, "row", "one")
    notes = [site.ship("row", {"docs/guide.md": text}) for text in ("a", "b")]
    assert [(note.status, note.release) for note in notes] == [(Status.UNCHANGED, None)] * 2
    head, base = (str(commit)[:12] for commit in (notes[1].commit, one.commit))
    assert notes[1].cause == f"{head} changes none of the app's paths since {base}"
    assert notes[1].hint == "to deploy it all the same: hookd deploy row"
    assert passed(site, "row") == [(note.commit, one.commit) for note in notes], "the base stays what serves"
    assert site.records.view("row").head == notes[1].commit, "a head that is passed over is seen all the same"
    matters = ship(site, "row", "two")
    assert (matters.status, matters.previous_commit, site.serving("row")) == (Status.SUCCEEDED, one.commit, "two")
    assert (site.current("row") / "docs" / "guide.md").read_text() == "b"


def test_a_push_that_is_repeated_is_written_down_once(site: Installation) -> None:
    ship(site, "row", "three")
    site.ship("row", {"docs/guide.md": "c"})
    known = passed(site, "row")
    for trigger in (Trigger.PUSH, Trigger.UPDATE, Trigger.REDELIVERY, Trigger.RECONCILE, Trigger.UNPIN):
        assert site.deploy("row", trigger).status is Status.UNCHANGED
    assert passed(site, "row") == known


def test_a_person_deploys_what_was_passed_over(site: Installation) -> None:
    ship(site, "hand", "one")
    noted = site.ship("hand", {"README.md": "two"})
    assert noted.status is Status.UNCHANGED
    by_hand = site.deploy("hand")
    assert (by_hand.status, by_hand.commit) == (Status.SUCCEEDED, noted.commit)


def test_the_first_commit_is_deployed_whatever_it_holds(site: Installation) -> None:
    site.repositories["first"].commit(app_files("one"))
    first = site.ship("first", {"README.md": "only this is new"})
    assert (first.status, site.serving("first")) == (Status.SUCCEEDED, "one")


def test_what_matters_is_measured_from_what_serves_and_not_from_a_commit_that_failed(site: Installation) -> None:
    good = ship(site, "bad", "good")
    assert site.ship("bad", app_files("bad", "500 Oops")).status is Status.ROLLED_BACK
    mended = site.ship("bad", {**app_files("good"), "docs/guide.md": "an apology"})
    assert (mended.status, mended.cause) == (
        Status.UNCHANGED,
        f"{str(mended.commit)[:12]} changes none of the app's paths since {str(good.commit)[:12]}",
    )


def test_a_force_push_is_compared_with_what_serves(site: Installation) -> None:
    ship(site, "back", "one")
    noted = site.ship("back", {"docs/guide.md": "one"})
    ship(site, "back", "two")
    repository = site.repositories["back"]
    repository.git("reset", "-q", "--hard", str(noted.commit))
    again = site.ship("back", {"docs/guide.md": "rewritten"})
    assert (again.status, site.serving("back")) == (Status.SUCCEEDED, "one")


def test_the_lists_of_files_in_a_push_are_never_read(site: Installation) -> None:
    ship(site, "lists", "one")
    site.repositories["lists"].commit_and_push(app_files("two"))
    said = [{"id": site.repositories["lists"].head(), "added": [], "removed": [], "modified": ["docs/guide.md"]}]
    push = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": site.repositories["lists"].head(),
        "repository": {"full_name": "acme/lists"},
        "commits": said,
        "head_commit": said[0],
    }
    body = json.dumps(push).encode()
    _, answer, _ = site.post("/hooks/lists", body, gitea_headers(body))
    assert site.wait_for_ending(answer["deployment"]).status is Status.SUCCEEDED
    assert site.serving("lists") == "two"


def test_patterns_that_change_are_heeded_by_the_next_look_at_the_same_head(site: Installation) -> None:
    ship(site, "changed", "one")
    assert site.ship("changed", {"docs/guide.md": "two"}).status is Status.UNCHANGED
    site.change_app("changed", paths={"exclude": ["*.md"]})
    assert site.deploy("changed", Trigger.UPDATE).status is Status.SUCCEEDED


def test_what_was_decided_is_kept_with_what_was_seen(site: Installation) -> None:
    one = ship(site, "row", "four")
    noted = site.ship("row", {"docs/guide.md": "d"})
    filtered, deployed = [one for one in newest(site.records.connection, "row", 9) if one.source == "deployment"][:2]
    assert (filtered.verdict, filtered.why, filtered.deployment) == (Verdict.FILTERED, noted.cause, noted.id)
    assert (filtered.head, filtered.deployed, filtered.ref) == (noted.commit, one.commit, "refs/heads/main")
    assert (deployed.verdict, deployed.why, deployed.head) == (
        Verdict.DEPLOYED,
        f"succeeded: {str(one.commit)[:12]} serves",
        one.commit,
    )
