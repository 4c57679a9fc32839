"""The fault tier: real kills, real shortages; a short form with every test run, the long one with `./run faults`."""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger
from tests.support.processes import wait_for

# The long form is asked for by the number of its rounds; each test has a short form of its own.
_ROUNDS = int(os.environ.get("HOOKD_FAULT_ROUNDS", "0"))
_SEED = int(os.environ.get("HOOKD_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
Case = TypeVar("Case")
_FIGURES = pytest.StashKey[list[str]]()


@dataclass
class Dice:
    """How long a test goes on, and by which chance: the same for the same seed and the same test."""

    chance: random.Random
    _figures: list[str] = field(repr=False)

    @property
    def is_long(self) -> bool:
        """Tell whether every case is to be tried."""
        return _ROUNDS > 0

    def rounds(self, short: int) -> int:
        """The number of rounds: the short form's own, or the long form's."""
        return _ROUNDS or short

    def some(self, cases: Sequence[Case], short: int) -> list[Case]:
        """All cases in the long form, a few in the short one."""
        return list(cases) if self.is_long else self.chance.sample(cases, short)

    def count(self, figures: str) -> None:
        """Add a line to the summary."""
        self._figures.append(figures)


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what is counted."""
    config.stash[_FIGURES] = []


def pytest_report_header() -> str:
    """Say how the same run can be had again."""
    again = f"HOOKD_FAULT_SEED={_SEED}" + (f" HOOKD_FAULT_ROUNDS={_ROUNDS}" if _ROUNDS else "")
    return f"faults: {'long' if _ROUNDS else 'short'} form; the same again with {again}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was counted."""
    if config.stash[_FIGURES]:
        terminalreporter.section(f"faults (seed {_SEED})")
        for line in config.stash[_FIGURES]:
            terminalreporter.write_line(line)


@pytest.fixture
def dice(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Dice:
    """The rounds and the chance of a test."""
    return Dice(random.Random(f"{_SEED} {request.node.nodeid}"), pytestconfig.stash[_FIGURES])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module's tests with each of its HANDOVERS."""
    if "keeper" in metafunc.fixturenames:
        handovers = getattr(metafunc.module, "HANDOVERS", ("blue-green",))
        metafunc.parametrize("keeper", handovers, indirect=True, scope="module")


@pytest.fixture(scope="module")
def keeper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """A whole hookd whose programs are started again when they die."""
    with Keeper(tmp_path_factory.mktemp("f"), handover=request.param) as kept:
        yield kept


@pytest.fixture
def ledger(keeper: Keeper) -> Iterator[Ledger]:
    """Watches the app all the time; what must never be seen is looked for when the test is over, too."""
    with Ledger(keeper) as book:
        yield book
    assert book.broken_promises() == {}
    wait_for(lambda: not keeper.strays(), 10, what="the end of what lost its parent")
