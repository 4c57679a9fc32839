"""Real servers for tests, which are skipped if none can boot, unless HOOKD_DEMAND_SERVER=1 demands them."""

import os
import secrets
from collections.abc import Generator, Iterator

import pytest

from tests.support import dice, summary
from tests.support.order import start_first
from tests.support.server.machine import Machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import Servers


def pytest_configure(config: pytest.Config) -> None:
    """Provide the dice."""
    dice.bring(config)


# The first files, one for each process of `./run test all`. Only the second waits for the layers that most files need.
_EARLY = ("test_compose.py", "test_handover.py", "test_git_faults.py", "test_permissions_attack.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no core wait for layers, and let the longest file begin first."""
    start_first(items, _EARLY)


class Figures:
    """Measured values for the summary, because tests assert no times."""

    @staticmethod
    def note(line: str) -> None:
        """Add a line to the summary."""
        summary.note("measured on real servers", line)


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Collect the measured values of tests."""
    return Figures()


@pytest.fixture(scope="session", autouse=True)
def can_boot_servers() -> None:
    """Skip or fail every test of this directory if no server can boot."""
    obstacle = can_boot()
    if obstacle and os.environ.get("HOOKD_DEMAND_SERVER") == "1":
        pytest.fail(obstacle, pytrace=False)
    if obstacle:
        pytest.skip(obstacle)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report all skips from one place, so that the summary has one line per reason."""
    report = yield
    if report.when == "setup" and report.skipped:
        assert isinstance(report.longrepr, tuple)
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


@pytest.fixture(scope="session")
def servers(can_boot_servers: None) -> Iterator[Servers]:
    """Starts machines. The processes of one test run share their layers."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(4))
    with workplace() as directory, workplace(f"layers-{run[:8]}") as layers:
        yield Servers(directory, layers)


@pytest.fixture(scope="module")
def fresh_server(servers: Servers) -> Iterator[Machine]:
    """A fresh Debian for the tests of a module."""
    with servers.start() as machine:
        yield machine
