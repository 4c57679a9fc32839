"""Journals as deployments leave them, of which nothing was built and nothing runs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hookd.model.ids import new_deployment_id
from hookd.model.journal import Built, Good, JournalEvent, Pinned, Quarantined, Switched
from worker.journal import Journal


def _stamp(journal: Path) -> dict[str, Any]:
    at = datetime.now(UTC)
    return {"at": at, "deployment": new_deployment_id(journal.stem, at)}


def _built(journal: Path, commit: str) -> Built:
    number = Journal(journal).state().last_number + 1
    return Built(**_stamp(journal), release=f"{number:06}-{commit[:12]}", commit=commit)


def deployed(journal: Path, commit: str) -> str:
    """Record that a commit was deployed and serves, and return the commit."""
    built = _built(journal, commit)
    served = {**_stamp(journal), "release": built.release}
    _add(journal, built, Switched(**served), Good(**served))
    return commit


def found_bad(journal: Path, commit: str) -> str:
    """Record that a commit was rolled back, and return the commit."""
    _add(journal, _built(journal, commit), Quarantined(**_stamp(journal), commit=commit, served=True, cause="it hangs"))
    return commit


def gone_back(journal: Path) -> None:
    """Record a rollback by a person to the good release before the serving one."""
    state = Journal(journal).state()
    previous, serving = state.previous_good, state.deployed
    assert previous is not None and serving is not None
    served = {**_stamp(journal), "release": previous.name}
    pinned = Pinned(**_stamp(journal), commit=previous.commit, head=serving.commit)
    _add(journal, Switched(**served), Good(**served), pinned)


def _add(journal: Path, *events: JournalEvent) -> None:
    journal.parent.mkdir(parents=True, exist_ok=True)
    Journal(journal).add(*events)
