"""Reconciliation of a running hookd, and its apps under circus."""

import os
import subprocess
from pathlib import Path
from unittest.mock import patch

from hookd.model.decision import Decision
from hookd.model.deployment import Deployment
from hookd.queue.published import read_decisions
from tests.support.installation import Installation
from tests.support.processes import python
from tests.support.visitors import visitors
from worker.reconcile.reconciler import Reconciler


def run_reconciler(site: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the reconciler as the timer does."""
    done = subprocess.run(
        python("-P", "-m", "worker.reconcile", *arguments),
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def reconcile_app(site: Installation, app: str) -> Decision:
    """Reconcile one app in this process, and return the last decision."""
    found = site.config.catalogue.get(app)
    assert found is not None
    with patch.dict(os.environ, HOOKD_CONFIG=str(site.config_path)):
        Reconciler(site.config, site.records).reconcile(found)
    return decided(site, app)[0]


def decided(site: Installation, app: str) -> list[Decision]:
    return [one for one in read_decisions(site.records.connection, app, 100) if one.source == "reconcile"]


def ending(site: Installation, decision: Decision) -> Deployment:
    """Return the ending of the deployment that a reconciliation requested."""
    assert decision.deployment is not None, decision
    return site.wait_for_ending(decision.deployment)


def hookd(site: Installation, *arguments: str) -> str:
    command = python("-m", "hookd.cli", *arguments)
    return subprocess.run(command, env=site.environment, check=True, capture_output=True, text=True).stdout


def answers(site: Installation, app: str) -> set[str]:
    """Return the answers to many visitors at once."""
    with visitors(site.ports[app], 2) as crowd:
        crowd.wait_for_more(30)
    assert crowd.failures == []
    return crowd.pages


def move(link: Path, release: str | None) -> None:
    """Move a link by hand."""
    link.unlink()
    link.symlink_to(f"releases/{release}")
