"""Base images made here under the names of official ones, since no registry is asked."""

from dataclasses import dataclass

from tests.support.server.image import Recipe


@dataclass(frozen=True)
class StandIn:
    """Debian with packages under the names of official images, with the host's certificates and indexes.

    It has neither entrypoint nor command, and its Python and Redis are Debian's.
    """

    tags: tuple[str, ...]
    packages: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The image that is imported."""
        packages = tuple(sorted({"ca-certificates", *self.packages}))
        return Recipe(name=self.tags[0].replace(":", "-"), suite="bookworm", packages=packages)


DEBIAN = StandIn(("debian:bookworm-slim",))
# One image, because each takes half a minute of a core.
PYTHON_AND_REDIS = StandIn(
    ("python:3.11-slim", "redis:7-alpine"),
    ("python3", "python3-venv", "python3-pip", "python-is-python3", "redis-server"),
)
