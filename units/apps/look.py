"""Looks at a repository before its app exists: fetches the branch, and finds what hookd should configure.

Both steps are programs of the worker's user, because the repository is a stranger's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hookd.model.plan import Plan
from units.apps.git_access import as_worker, worker_environment
from units.system import layout
from units.system.errors import HostError
from units.system.run import CommandFailed, run

_FETCH_SECONDS = 330.0
_FIND_SECONDS = 60.0


class Fetched(NamedTuple):
    """A fetched branch: the mirror's directory, the commit at its head, and its name."""

    mirror: str
    commit: str
    branch: str


@dataclass(frozen=True)
class Source:
    """A branch of a repository, or its own with "", and the deploy key that opens it."""

    name: str
    repository: str
    branch: str
    key: str | None = None


@dataclass(frozen=True)
class Looker:
    """Runs the programs: `wrap` changes the user, `python` is hookd's own, and `variables` are theirs."""

    python: str
    wrap: Callable[..., tuple[str, ...]] = lambda *argv: argv
    variables: Mapping[str, str] | None = None

    def fetch(self, source: Source) -> Fetched:
        """Fetch a branch. Raises Unreadable."""
        key = (source.key,) if source.key else ()
        arguments = (source.name, source.repository, source.branch, *key)
        try:
            printed = self._run("worker.look", *arguments, seconds=_FETCH_SECONDS)
        except CommandFailed as error:
            raise Unreadable(error.output.splitlines()[-1] if error.output else str(error)) from None
        return Fetched(*_last_line(printed).split(" ", 2))

    def find(self, mirror: str, commit: str, directory: str | None) -> Plan:
        """Return the plan for a commit, an empty one if that fails. `directory` is the app's in the repository."""
        chosen = (directory,) if directory else ()
        try:
            printed = self._run("units.finders", mirror, commit, *chosen, seconds=_FIND_SECONDS)
            return Plan.from_json(_last_line(printed))
        except (CommandFailed, ValueError) as error:
            return Plan("unknown", remarks=(f"The repository could not be examined: {error}.",))

    def forget(self, mirror: str) -> None:
        """Remove the mirror of an app that is not installed."""
        run(self.wrap("rm", "-rf", "--one-file-system", "--", mirror), extra=self.variables)

    def _run(self, module: str, *arguments: str, seconds: float) -> str:
        argv = self.wrap(self.python, "-P", "-m", module, *arguments)
        return run(argv, seconds=seconds, extra=self.variables)


def _last_line(printed: str) -> str:
    """Return the result of a program behind warnings of its own."""
    return printed.strip().rpartition("\n")[2]


class Unreadable(HostError):
    """The repository cannot be read."""


def server_looker() -> Looker:
    """Return the one of a server, as the worker's user. Raises HostError for a bad file of the worker's variables."""
    return Looker(str(layout.PYTHON), as_worker, {**worker_environment(), "HOOKD_CONFIG": str(layout.CONFIG)})
