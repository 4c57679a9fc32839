"""The machines of a test session, and the layers that they start from."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.support.server.image import image, server
from tests.support.server.machine import Machine, machine
from tests.support.server.places import locked


@dataclass(frozen=True)
class Layer:
    """The disk of a server that was switched off. `lower` is topmost first."""

    lower: tuple[Path, ...]


class Servers:
    """Starts machines below one directory, on layers that all processes of a test run share."""

    def __init__(self, directory: Path, layers: Path) -> None:
        self._directory = directory
        self._layers = layers
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
        """Return the layer that `make` writes. The first process makes it, and all get the same layer or failure."""
        below = on or fresh(suite)
        made = self._layers / name.replace(" ", "-")
        failure = made / "failure"
        with locked(made.name, self._layers):
            made.mkdir(exist_ok=True)
            if not any(made.iterdir()):
                try:
                    self._make(make, below, made / "upper")
                except AssertionError as error:
                    failure.write_text(str(error))
        if failure.exists():
            raise AssertionError(f"the server {name!r} could not be made: {failure.read_text()}")
        return Layer((made / "upper", *below.lower))

    def _make(self, make: Callable[[Machine], object], on: Layer, upper: Path) -> None:
        directory = self._next_directory()
        with machine(directory, on.lower, is_kept=True) as started:
            make(started)
            started.stop()
        (directory / "upper").rename(upper)

    def _next_directory(self) -> Path:
        return self._directory / str(next(self._numbers))


def fresh(suite: str) -> Layer:
    """Return the layer of a fresh Debian."""
    return Layer((image(server(suite)),))
