"""Real servers for tests: skipped in one line where none can be booted, unless HOOKD_DEMAND_SERVER=1 demands them."""

import os
from collections.abc import Generator, Iterator
from typing import Final

import pytest

from tests.support import dice
from tests.support.server.machine import Machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import Servers

# Half of the tests by their time, so that two runs side by side take hardly longer than one of the halves. What turns
# the kernel's own protection of links off, or looks at it, stays together.
HALVES: Final = {
    "1": "at_once compose doctor freeze handover inside_an_app permissions_attack power_cuts privileges readme_server"
    " redis_attack root_code support_engine units writable",
    "2": "adopt app_add certificates chmod edit existing_unit fail2ban interrupted reconcile set_up support"
    " support_layers support_network uninstall wrong_input",
}


def files(half: str) -> frozenset[str]:
    """Name the files of a half."""
    return frozenset(f"test_{name}.py" for name in HALVES[half].split())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run be split."""
    parser.addoption("--half", choices=sorted(HALVES), help="run one half of the tests on real servers")


def pytest_configure(config: pytest.Config) -> None:
    """Bring the dice."""
    dice.bring(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the other half, if one was asked for."""
    half = config.getoption("half")
    if not half:
        return
    left_out = [item for item in items if item.path.name not in files(half)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


class Figures:
    """What was measured on the way; tests assert no times, people read them in the summary."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Keep one line for the summary."""
        self.lines.append(line)


_FIGURES = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Where tests note what they measured."""
    return _FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures after the tests."""
    if _FIGURES.lines:
        terminalreporter.section("measured on real servers")
        for line in _FIGURES.lines:
            terminalreporter.write_line(line)


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
