"""Intermediate files of a deployment, which must be gone when the next one has ended."""

from tests.faults.host import APP, FaultHost
from worker.journal import Journal


def leftovers(host: FaultHost) -> list[str]:
    """Return the leftover intermediate files."""
    root, state = host.site.root(APP), host.site.directory / "state"
    journal = Journal(host.site.config.settings.journal_path(APP))
    known = {release.name for release in journal.state().releases}
    half = [one for one in (root / "releases").iterdir() if one.name not in known]
    half += [one for one in (root / "venvs").iterdir() if not (one / ".hookd-complete").exists()]
    half += [one for one in root.iterdir() if one.name.startswith(".")]
    for pattern in ("*.new", "*.broken", "**/*.lock", "**/tmp_*", "**/hookd-index*"):
        half += (state / "mirrors").glob(pattern)
    half += (state / "locks").glob("*.run")
    return [str(one) for one in half]
