"""The machines of a test session, and the layers that they start from."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.support.server.image import image, server
from tests.support.server.machine import Machine, machine


@dataclass(frozen=True)
class Layer:
    """The disk of a server that was switched off. `lower` is topmost first."""

    lower: tuple[Path, ...]


class Servers:
    """Starts machines below one directory. Layers live as long as the session."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._layers: dict[str, Layer | AssertionError] = {}
        self._numbers = count(1)

    @contextmanager
    def start(self, on: Layer | None = None, *, suite: str = "bookworm") -> Iterator[Machine]:
        """Run a machine during the block, from a fresh Debian or a layer."""
        directory = self._next_directory()
        try:
            with machine(directory, (on or fresh(suite)).lower) as started:
                yield started
        finally:
            shutil.rmtree(directory)

    def layer(
        self, name: str, make: Callable[[Machine], object], *, on: Layer | None = None, suite: str = "bookworm"
    ) -> Layer:
        """Return the layer that `make` writes. Later calls with this name get the same layer or failure."""
        if name not in self._layers:
            try:
                self._layers[name] = self._make(make, on or fresh(suite))
            except AssertionError as failure:
                self._layers[name] = failure
        made = self._layers[name]
        if isinstance(made, AssertionError):
            raise AssertionError(f"the server {name!r} could not be made: {made}") from made
        return made

    def _make(self, make: Callable[[Machine], object], on: Layer) -> Layer:
        directory = self._next_directory()
        with machine(directory, on.lower) as started:
            make(started)
            started.stop()
        return Layer((directory / "upper", *on.lower))

    def _next_directory(self) -> Path:
        return self._directory / str(next(self._numbers))


def fresh(suite: str) -> Layer:
    """Return the layer of a fresh Debian."""
    return Layer((image(server(suite)),))
