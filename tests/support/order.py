"""The order of test files. The long ones start first, so that no core is idle at the end."""

from collections.abc import Sequence

import pytest


def start_first(items: list[pytest.Item], files: Sequence[str]) -> None:
    """Move the tests of some files to the front, and keep the order of all others."""
    places = {name: place for place, name in enumerate(files)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
