"""Inspects a repository before its app exists: fetches the branch, and finds the plan.

Both steps are programs of the worker's user, because the repository is a stranger's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hookd.model.plan import Plan
from units.apps.repository.git_access import as_worker, worker_environment
from units.system import layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run

_FETCH_SECONDS = 330.0
_FIND_SECONDS = 60.0


class Head(NamedTuple):
    """The fetched head of a branch: the mirror's directory, the commit, and the branch's name."""

    mirror: str
    commit: str
    branch: str


@dataclass(frozen=True)
class Branch:
    """A branch of an app's repository, or its own with "", and the deploy key that opens it."""

    app: str
    repository: str
    name: str
    key: str | None = None


@dataclass(frozen=True)
class Inspector:
    """Runs the programs: `wrap` changes the user, `python` is hookd's own, and `variables` are theirs."""

    python: str
    wrap: Callable[..., tuple[str, ...]] = lambda *argv: argv
    variables: Mapping[str, str] | None = None

    def fetch(self, branch: Branch) -> Head:
        """Fetch a branch, and return its head. Raises UnreadableRepository."""
        key = (branch.key,) if branch.key else ()
        arguments = (branch.app, branch.repository, branch.name, *key)
        try:
            printed = self._run("worker.fetch", *arguments, seconds=_FETCH_SECONDS)
        except CommandFailed as error:
            raise UnreadableRepository(error.output.splitlines()[-1] if error.output else str(error)) from None
        return Head(*_last_line(printed).split(" ", 2))

    def find(self, head: Head, directory: str | None) -> Plan:
        """Return the plan for a head, an empty one if that fails. `directory` is the app's in the repository."""
        chosen = (directory,) if directory else ()
        try:
            printed = self._run("units.finders", head.mirror, head.commit, *chosen, seconds=_FIND_SECONDS)
            return Plan.from_json(_last_line(printed))
        except (CommandFailed, ValueError) as error:
            return Plan("unknown", remarks=(f"The repository could not be examined: {error}.",))

    def forget(self, head: Head) -> None:
        """Remove the mirror of an app that is not installed."""
        run(self.wrap("rm", "-rf", "--one-file-system", "--", head.mirror), extra=self.variables)

    def _run(self, module: str, *arguments: str, seconds: float) -> str:
        argv = self.wrap(self.python, "-P", "-m", module, *arguments)
        return run(argv, seconds=seconds, extra=self.variables)


def _last_line(printed: str) -> str:
    """Return the result of a program behind warnings of its own."""
    return printed.strip().rpartition("\n")[2]


class UnreadableRepository(HostError):
    """The repository cannot be read."""


def server_inspector() -> Inspector:
    """Return the inspector of a server, which works as the worker's user. Raises HostError for misread variables."""
    return Inspector(str(layout.PYTHON), as_worker, {**worker_environment(), "HOOKD_CONFIG": str(layout.CONFIG)})
