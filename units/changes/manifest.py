"""The resources that hookd created on this host, and its pending commands. Saved before each change."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from units.system import disk

ResourceKind = Literal["group", "user", "member", "directory", "kept directory", "file", "link"]
HOST: Final = "host"


@dataclass(frozen=True)
class Resource:
    """One thing that hookd created. Its `scope` is `host`, or `app:NAME`."""

    scope: str
    kind: ResourceKind
    name: str


@dataclass
class Manifest:
    """Created resources in the order of their creation, and commands that an interruption may have left undone."""

    path: Path
    resources: list[Resource] = field(default_factory=list)
    pending: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read the manifest. A missing file is an empty one. Raises ValueError for an invalid file."""
        content = disk.read(path)
        if content is None:
            return cls(path)
        found: dict[str, Any] = json.loads(content)
        resources = [Resource(**item) for item in found["resources"]]
        return cls(path, resources, [tuple(argv) for argv in found["pending"]])

    def add(self, resource: Resource) -> None:
        """Record a resource before its creation."""
        if resource not in self.resources:
            self.resources.append(resource)
            self.save()

    def forget(self, resource: Resource) -> None:
        """Drop a resource after its removal."""
        self.resources.remove(resource)
        self.save()

    def move(self, resource: Resource, scope: str) -> None:
        """Give a resource to another scope."""
        self.resources[self.resources.index(resource)] = replace(resource, scope=scope)
        self.save()

    def add_pending(self, argv: tuple[str, ...]) -> None:
        """Record a command that the current change makes necessary."""
        if argv not in self.pending:
            self.pending.append(argv)
            self.save()

    def mark_done(self, argv: tuple[str, ...]) -> None:
        """Drop a command that was run."""
        if argv in self.pending:
            self.pending.remove(argv)
            self.save()

    def of(self, scope: str, *kinds: ResourceKind) -> list[Resource]:
        """Return the resources of a scope, the newest first."""
        return [resource for resource in reversed(self.resources) if resource.scope == scope and resource.kind in kinds]

    def has(self, kind: ResourceKind, name: str) -> bool:
        """Return True if hookd created this resource, in any scope."""
        return any(resource.kind == kind and resource.name == name for resource in self.resources)

    def save(self) -> None:
        """Replace the file."""
        content = {"resources": [vars(resource) for resource in self.resources], "pending": self.pending}
        disk.write(self.path, json.dumps(content, indent=1).encode(), disk.SECRET)
