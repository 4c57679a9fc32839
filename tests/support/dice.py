"""The seed and the number of rounds of fault tests, and a summary of their counts."""

import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.support import summary

# The number of rounds selects the long form. Each test has its own short form.
_ROUNDS = int(os.environ.get("HOOKD_FAULT_ROUNDS", "0"))
_SEED = int(os.environ.get("HOOKD_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
os.environ["HOOKD_FAULT_SEED"] = str(_SEED)  # The workers of pytest-xdist use the printed seed.
Case = TypeVar("Case")


def bring(config: pytest.Config) -> None:
    """Provide the dice to the tests of a directory, from its conftest's `pytest_configure`."""
    if not config.pluginmanager.has_plugin(__name__):
        config.pluginmanager.register(sys.modules[__name__], __name__)
    summary.bring(config)


@dataclass
class Dice:
    """The rounds and the random numbers of a test, which are the same for the same seed and test."""

    chance: random.Random

    @property
    def is_long(self) -> bool:
        """True if every case runs."""
        return _ROUNDS > 0

    def rounds(self, short: int) -> int:
        """Return the number of rounds in the short or the long form."""
        return _ROUNDS or short

    def some(self, cases: Sequence[Case], short: int) -> list[Case]:
        """Return a few cases in the short form and all in the long one, in random order."""
        return self.chance.sample(cases, len(cases) if self.is_long else short)

    def count(self, line: str) -> None:
        """Add a line to the summary."""
        summary.note(f"faults (seed {_SEED})", line)


def pytest_report_header() -> str:
    """Show the command that repeats this run."""
    again = f"HOOKD_FAULT_SEED={_SEED}" + (f" HOOKD_FAULT_ROUNDS={_ROUNDS}" if _ROUNDS else "")
    return f"faults: {'long' if _ROUNDS else 'short'} form, repeat with {again}"


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Dice:
    """The rounds and the chance of a test."""
    return Dice(random.Random(f"{_SEED} {request.node.nodeid}"))
