"""The fault tier: real kills, real shortages; a short form with every test run, the long one with `./run faults`."""

from collections.abc import Iterator

import pytest

from tests.faults.keeper import Keeper
from tests.faults.ledger import Ledger
from tests.faults.leftovers import leftovers
from tests.support import dice
from tests.support.dice import Dice
from tests.support.processes import wait_for

__all__ = ["Dice"]


def pytest_configure(config: pytest.Config) -> None:
    """Bring the dice."""
    dice.bring(config)


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


@pytest.fixture
def alone(keeper: Keeper) -> Iterator[None]:
    """Nobody looks after lost pushes: what goes live here does so by its delivery."""
    with keeper.reconciler.held():
        yield


@pytest.fixture
def tidy(keeper: Keeper) -> Iterator[None]:
    """What was broken off on the way is gone when the test is over."""
    yield
    wait_for(lambda: not leftovers(keeper), what="the end of what is left over")
