"""Real servers for tests: skipped in one line where none can be booted, unless HOOKD_DEMAND_SERVER=1 demands them."""

import os
from collections.abc import Generator, Iterator

import pytest

from tests.support import dice, summary
from tests.support.server.machine import Machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import Servers


def pytest_configure(config: pytest.Config) -> None:
    """Bring the dice."""
    dice.bring(config)


class Figures:
    """Measured values: tests assert no times, people read them in the summary."""

    @staticmethod
    def note(line: str) -> None:
        """Keep one line for the summary."""
        summary.note("measured on real servers", line)


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Where tests note what they measured."""
    return Figures()


@pytest.fixture(scope="session", autouse=True)
def can_boot_servers() -> None:
    """Skip, or fail, every test of this directory where no server can be booted."""
    why_not = can_boot()
    if why_not and os.environ.get("HOOKD_DEMAND_SERVER") == "1":
        pytest.fail(why_not, pytrace=False)
    if why_not:
        pytest.skip(why_not)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let all skips have one place, so that the summary says a reason once, in one line."""
    report = yield
    if report.when == "setup" and report.skipped:
        assert isinstance(report.longrepr, tuple)
        report.longrepr = (__file__, 1, report.longrepr[2])
    return report


@pytest.fixture(scope="session")
def servers(can_boot_servers: None) -> Iterator[Servers]:
    """Where machines come from; what they leave is deleted with the session."""
    with workplace() as directory:
        yield Servers(directory)


@pytest.fixture(scope="module")
def fresh_server(servers: Servers) -> Iterator[Machine]:
    """A fresh Debian for the tests of a module."""
    with servers.start() as machine:
        yield machine
