"""What hookd brought to this host and which commands it still owes after an interruption; saved before each change."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from units.system import disk

ResourceKind = Literal["group", "user", "member", "directory", "kept directory", "file", "link"]
HOST: Final = "host"


@dataclass(frozen=True)
class Resource:
    """One thing that was not there before: its `scope` is `host`, or `app:NAME`."""

    scope: str
    kind: ResourceKind
    name: str


@dataclass
class Manifest:
    """The list of what was brought, in the order of its coming, and of the commands that are owed."""

    path: Path
    resources: list[Resource] = field(default_factory=list)
    pending: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read the manifest; an empty one when there is none. Raises ValueError when it cannot be understood."""
        content = disk.read(path)
        if content is None:
            return cls(path)
        found: dict[str, Any] = json.loads(content)
        return cls(path, [Resource(**item) for item in found["brought"]], [tuple(argv) for argv in found["owed"]])

    def note(self, thing: Resource) -> None:
        """Remember something that is about to be made."""
        if thing not in self.resources:
            self.resources.append(thing)
            self.save()

    def forget(self, thing: Resource) -> None:
        """Forget something that is gone."""
        self.resources.remove(thing)
        self.save()

    def add_pending(self, argv: tuple[str, ...]) -> None:
        """Remember a command that must be run once the current change is made."""
        if argv not in self.pending:
            self.pending.append(argv)
            self.save()

    def mark_done(self, argv: tuple[str, ...]) -> None:
        """Forget a command that was run."""
        if argv in self.pending:
            self.pending.remove(argv)
            self.save()

    def of(self, scope: str, *kinds: ResourceKind) -> list[Resource]:
        """What belongs to a scope, the last first."""
        return [thing for thing in reversed(self.resources) if thing.scope == scope and thing.kind in kinds]

    def has(self, kind: ResourceKind, name: str) -> bool:
        """Tell whether something was brought by hookd, in whatever scope."""
        return any(thing.kind == kind and thing.name == name for thing in self.resources)

    def save(self) -> None:
        """Write it as a whole."""
        content = {"brought": [vars(thing) for thing in self.resources], "owed": self.pending}
        disk.write(self.path, json.dumps(content, indent=1).encode(), disk.SECRET)
