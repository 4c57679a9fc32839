"""Base images made here under the names of official ones, since no registry is asked."""

from dataclasses import dataclass
from typing import Self

from tests.support.server.image import Recipe


@dataclass(frozen=True)
class StandIn:
    """Debian with packages under an official image's name, with the host's certificates and indexes.

    It has no entrypoint script, and its Python or Redis is Debian's.
    """

    tag: str
    packages: tuple[str, ...] = ()
    command: str = '["bash"]'
    suite: str = "bookworm"

    @property
    def recipe(self) -> Recipe:
        """The image that is imported."""
        packages = tuple(sorted({"ca-certificates", *self.packages}))
        return Recipe(name=self.tag.replace(":", "-").replace("/", "-"), suite=self.suite, packages=packages)

    def named(self, tag: str) -> Self:
        """Return a copy under another name."""
        return type(self)(tag, self.packages, self.command, self.suite)


DEBIAN = StandIn("debian:bookworm-slim")
PYTHON = StandIn(
    "python:3.11-slim-bookworm", ("python3", "python3-venv", "python3-pip", "python-is-python3"), '["python3"]'
)
REDIS = StandIn("redis:7-bookworm", ("redis-server",), '["redis-server"]')
