"""Tests with real kills and shortages: a short form in `./run test all`, the long form in `./run faults`."""

from collections.abc import Iterator

import pytest

from tests.faults.host import FaultHost
from tests.faults.leftovers import leftovers
from tests.faults.monitor import Monitor
from tests.support import dice
from tests.support.dice import Dice
from tests.support.processes import wait_for

__all__ = ["Dice"]


def pytest_configure(config: pytest.Config) -> None:
    """Provide the dice."""
    dice.bring(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module's tests with each of its HANDOVERS."""
    if "host" in metafunc.fixturenames:
        handovers = getattr(metafunc.module, "HANDOVERS", ("blue-green",))
        metafunc.parametrize("host", handovers, indirect=True, scope="module")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultHost]:
    """A complete hookd whose programs restart when they end."""
    with FaultHost(tmp_path_factory.mktemp("f"), handover=request.param) as host:
        yield host


@pytest.fixture
def monitor(host: FaultHost) -> Iterator[Monitor]:
    """Watch the app during the test, and check the invariants at its end."""
    with Monitor(host) as monitor:
        yield monitor
    assert monitor.violations() == {}
    wait_for(lambda: not host.orphans(), 10, what="the end of orphaned processes")


@pytest.fixture
def no_reconciler(host: FaultHost) -> Iterator[None]:
    """Stop the reconciler, so that pushes go live by their deliveries alone."""
    with host.reconciler.held():
        yield


@pytest.fixture
def no_leftovers(host: FaultHost) -> Iterator[None]:
    """Check at the end that an interrupted deployment left nothing."""
    yield
    wait_for(lambda: not leftovers(host), what="the end of leftovers")
