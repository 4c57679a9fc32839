"""How long tests of faults go on, and by which chance; what they counted is printed at the end."""

import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.support import summary

# The long form is asked for by the number of its rounds; each test has a short form of its own.
_ROUNDS = int(os.environ.get("HOOKD_FAULT_ROUNDS", "0"))
_SEED = int(os.environ.get("HOOKD_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
os.environ["HOOKD_FAULT_SEED"] = str(_SEED)  # The workers of pytest-xdist throw with the seed that is printed.
Case = TypeVar("Case")


def bring(config: pytest.Config) -> None:
    """Let the tests of a directory have dice; for its conftest's own `pytest_configure`, also of several."""
    if not config.pluginmanager.has_plugin(__name__):
        config.pluginmanager.register(sys.modules[__name__], __name__)
    summary.bring(config)


@dataclass
class Dice:
    """How long a test goes on, and by which chance: the same for the same seed and the same test."""

    chance: random.Random

    @property
    def is_long(self) -> bool:
        """Tell whether every case is to be tried."""
        return _ROUNDS > 0

    def rounds(self, short: int) -> int:
        """The number of rounds: the short form's own, or the long form's."""
        return _ROUNDS or short

    def some(self, cases: Sequence[Case], short: int) -> list[Case]:
        """A few cases in the short form, all of them in the long one, both in an order by chance."""
        return self.chance.sample(cases, len(cases) if self.is_long else short)

    def count(self, line: str) -> None:
        """Add a line to the summary."""
        summary.note(f"faults (seed {_SEED})", line)


def pytest_report_header() -> str:
    """Say how the same run can be had again."""
    again = f"HOOKD_FAULT_SEED={_SEED}" + (f" HOOKD_FAULT_ROUNDS={_ROUNDS}" if _ROUNDS else "")
    return f"faults: {'long' if _ROUNDS else 'short'} form; the same again with {again}"


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Dice:
    """The rounds and the chance of a test."""
    return Dice(random.Random(f"{_SEED} {request.node.nodeid}"))
