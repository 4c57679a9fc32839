"""The catalogue: all apps of the host, and what two of them must not share."""

from collections.abc import Iterator
from typing import NamedTuple

from hookd.model.app import App
from hookd.model.tables.fields import Section


class Conflict(NamedTuple):
    """A directory or a service that two apps share."""

    apps: tuple[str, str]
    why: str

    def __str__(self) -> str:
        return f"{' and '.join(self.apps)}: {self.why}"


class Catalogue(Section):
    """All apps of the host."""

    apps: tuple[App, ...] = ()

    def get(self, name: str) -> App | None:
        """Return an app by its name."""
        return next((app for app in self.apps if app.name == name), None)

    def conflicts(self) -> list[Conflict]:
        """Return the directories and services that two apps share."""
        return [*self._nested_roots(), *self._shared_services()]

    def _nested_roots(self) -> Iterator[Conflict]:
        """Compare each root with its predecessors in path order, because a nested root directly follows its parent."""
        parents: list[App] = []
        for app in sorted(self.apps, key=lambda app: app.root.parts):
            while parents and not app.root.is_relative_to(parents[-1].root):
                parents.pop()
            if parents:
                yield Conflict((parents[-1].name, app.name), f"one root lies in the other ({app.root})")
            parents.append(app)

    def _shared_services(self) -> Iterator[Conflict]:
        owners: dict[tuple[str | None, str], str] = {}
        for app in self.apps:
            for service in sorted(app.services):
                owner = owners.setdefault((app.service.endpoint, service), app.name)
                if owner != app.name:
                    yield Conflict((owner, app.name), f"the same service ({service})")
