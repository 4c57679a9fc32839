"""Builds of the head of a repository, as a deployment makes them, without a service."""

from pathlib import Path
from typing import Any

from tests.support.tasks import deploying, make_app
from worker.deploy.build import build, check
from worker.deploy.target import Target
from worker.release.git_mirror import GitMirror
from worker.release.ownership import release_policy


def build_head(directory: Path, **over: Any) -> tuple[str, str]:
    """Build and check the head of the repository, and return the release's name and the log."""
    app = make_app(directory, **{"service": {"preflight": []}, **over})
    with deploying(directory, app) as at:
        task = at.task
        checkout = GitMirror(app, task.settings, task.recorder.line)
        commit = checkout.fetch_head()
        target, policy = Target(commit, commit), release_policy(app.ownership)
        new = build(task, task.journal.state(), target, checkout, policy)
        check(task, new, target, policy)
        return new.name, at.text
