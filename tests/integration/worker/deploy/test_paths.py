"""Commits that change none of the app's paths are skipped.

The first tests deploy. The others only reason_against, with a real branch and a real journal.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hookd.model.decision import Assessment, Verdict
from hookd.model.deployment import Deployment, Status, Trigger
from hookd.model.hint import Hint, HintKind
from hookd.model.journal import Built, Good, Quarantined, Skipped, Switched, decode
from hookd.queue.published import read_decisions
from tests.support.installation import Installation, app_files
from tests.support.repository import Repository
from tests.support.signatures import gitea_headers
from tests.support.tasks import deploying, make_app
from tests.support.typed import hookd
from worker.deploy.target import choose_target, reason_against
from worker.release.git_mirror import GitMirror

PATHS: Mapping[str, Any] = {"exclude": ["docs", "*.md"]}
APPS: dict[str, dict[str, Any]] = {"row": {"handover": "restart", "paths": PATHS}}


@pytest.fixture(scope="module")
def first(site: Installation) -> Deployment:
    """The app's first deployment."""
    return site.ship("row", app_files("one"))


def skips_in(journal: Path) -> list[tuple[str, str]]:
    """Return the skipped commits of a journal with their bases."""
    lines = journal.read_text().splitlines()
    return [(event.commit, event.base) for event in decode(lines) if isinstance(event, Skipped)]


@pytest.mark.threat(41)
@pytest.mark.promise(28, 30)
def test_skip_until_paths_change(site: Installation, first: Deployment) -> None:
    serving, journal = site.serving("row"), site.directory / "state" / "journals" / "row.jsonl"
    base, known = site.status("row").deployed_commit, skips_in(journal)
    notes = [site.ship("row", {"docs/guide.md": text}) for text in ("a", "b")]
    assert [(note.status, note.release) for note in notes] == [(Status.UNCHANGED, None)] * 2
    assert notes[1].cause == f"{str(notes[1].commit)[:12]} changes none of the app's paths since {str(base)[:12]}"
    assert notes[1].hint == Hint(HintKind.DEPLOY)
    assert skips_in(journal) == [*known, *((note.commit, base) for note in notes)], "the base stays what serves"
    view = site.status("row")
    assert view.head == notes[1].commit, "a skipped head is seen all the same"
    assert (view.skipped_commit, view.lag) == (view.head, None)
    shown = hookd(site, "status", "row").stdout
    assert f"head {str(view.head)[:12]} (skipped, it changes none of the app's paths)" in shown
    matters = site.ship("row", app_files(f"{serving} and two"))
    assert (matters.status, matters.previous_commit) == (Status.SUCCEEDED, base)
    assert site.serving("row") == f"{serving} and two"
    assert (site.current("row") / "docs" / "guide.md").read_text() == "b"


@pytest.mark.threat(41)
@pytest.mark.promise(31)
def test_file_lists_of_push_are_ignored(site: Installation, first: Deployment) -> None:
    site.repositories["row"].commit_and_push(app_files("listed"))
    said = [{"id": site.repositories["row"].head(), "added": [], "removed": [], "modified": ["docs/guide.md"]}]
    push = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": site.repositories["row"].head(),
        "repository": {"full_name": "acme/row"},
        "commits": said,
        "head_commit": said[0],
    }
    body = json.dumps(push).encode()
    _, answer, _ = site.post("/hooks/row", body, gitea_headers(body))
    assert site.wait_for_ending(answer["deployment"]).status is Status.SUCCEEDED
    assert site.serving("row") == "listed"


@pytest.mark.threat(44)
@pytest.mark.promise(33)
def test_decision_is_stored(site: Installation, first: Deployment) -> None:
    noted = site.ship("row", {"docs/guide.md": "decided"})
    decisions = {one.deployment: one for one in read_decisions(site.records.connection, "row", 99) if one.head}
    skipped, deployed = decisions[noted.id], decisions[first.id]
    assert (skipped.source, skipped.verdict, skipped.why) == ("deployment", Verdict.SKIPPED, noted.cause)
    assert (skipped.head, skipped.ref) == (noted.commit, "refs/heads/main")
    assert skipped.deployed == site.status("row").deployed_commit
    assert (deployed.verdict, deployed.ending) == (Verdict.ENDED, Status.SUCCEEDED)
    assert (deployed.why, deployed.head) == (f"{str(first.commit)[:12]} serves", first.commit)
    assert deployed.deployed is None


class Branch:
    """An app's branch and journal."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.repository = Repository(directory / "repository")
        self.paths = PATHS
        self.releases = 0

    def push(self, text: str, path: str = "wsgi.py") -> str:
        return self.repository.commit_and_push({path: text})

    def reason_against(self, trigger: Trigger = Trigger.PUSH) -> Assessment | None:
        """Fetch and reason_against as a deployment does."""
        app = make_app(self.directory, repository=self.repository.url, paths=self.paths)
        with deploying(self.directory, app, trigger=trigger) as at:
            task, state = at.task, at.task.journal.state()
            checkout = GitMirror(app, task.settings, task.recorder.line)
            target = choose_target(task, state, checkout, checkout.fetch_head())
            return reason_against(task, state, target, checkout)

    def deployed(self, commit: str, good: bool = True) -> str:
        """Write to the journal that a commit serves, or that it is bad."""
        self.releases += 1
        release = f"{self.releases:06}-{commit[:12]}"
        with deploying(self.directory) as at:
            stamp = at.task.stamp()
            bad = Quarantined(**stamp, commit=commit, served=True, cause="it answered 500")
            found = (Switched(**stamp, release=release), Good(**stamp, release=release)) if good else (bad,)
            at.task.journal.add(Built(**stamp, release=release, commit=commit), *found)
        return commit

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return skips_in(self.directory / "state" / "journals" / "shop.jsonl")


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    return Branch(tmp_path)


def assert_skipped(ruling: Assessment | None, head: str, base: str) -> None:
    assert ruling is not None
    assert ruling.verdict is Verdict.SKIPPED
    assert ruling.why == f"{head[:12]} changes none of the app's paths since {base[:12]}"


def test_repeated_skip_is_journaled_once(branch: Branch) -> None:
    base = branch.deployed(branch.push("one"))
    head = branch.push("guide", "docs/guide.md")
    for trigger in (Trigger.PUSH, Trigger.UPDATE, Trigger.REDELIVERY, Trigger.RECONCILE, Trigger.UNPIN):
        assert_skipped(branch.reason_against(trigger), head, base)
    assert branch.skipped == [(head, base)]


@pytest.mark.promise(28)
def test_manual_deploy_of_skipped_head(branch: Branch) -> None:
    base = branch.deployed(branch.push("one"))
    head = branch.push("two", "README.md")
    assert branch.reason_against(Trigger.MANUAL) is None
    assert branch.skipped == []
    assert_skipped(branch.reason_against(), head, base)
    assert branch.reason_against(Trigger.MANUAL) is None


def test_first_commit_is_not_skipped(branch: Branch) -> None:
    branch.push("only this is new", "README.md")
    assert branch.reason_against() is None


def test_failed_commit_is_no_base(branch: Branch) -> None:
    """Paths are compared with the release that serves."""
    good = branch.deployed(branch.push("good"))
    branch.deployed(branch.push("bad"), good=False)
    branch.repository.commit({"wsgi.py": "good"})
    head = branch.push("an apology", "docs/guide.md")
    assert_skipped(branch.reason_against(), head, good)


@pytest.mark.threat(41)
def test_force_push(branch: Branch) -> None:
    one = branch.deployed(branch.push("one"))
    noted = branch.push("one", "docs/guide.md")
    assert_skipped(branch.reason_against(), noted, one)
    branch.deployed(branch.push("two"))
    branch.repository.git("reset", "-q", "--hard", noted)
    branch.push("rewritten", "docs/guide.md")
    assert branch.reason_against() is None


@pytest.mark.promise(32)
def test_changed_patterns(branch: Branch) -> None:
    base = branch.deployed(branch.push("one"))
    head = branch.push("two", "docs/guide.md")
    assert_skipped(branch.reason_against(), head, base)
    branch.paths = {"exclude": ["*.md"]}
    assert branch.reason_against(Trigger.UPDATE) is None
