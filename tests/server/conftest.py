"""Real servers for tests: skipped in one line where none can be booted, unless HOOKD_DEMAND_SERVER=1 demands them."""

import os
from collections.abc import Iterator

import pytest

from tests.support.server.machine import Machine
from tests.support.server.needs import can_boot
from tests.support.server.places import workplace
from tests.support.server.servers import Servers


@pytest.fixture(scope="session", autouse=True)
def can_boot_servers() -> None:
    """Skip, or fail, every test of this directory where no server can be booted."""
    why_not = can_boot()
    if why_not and os.environ.get("HOOKD_DEMAND_SERVER") == "1":
        pytest.fail(why_not, pytrace=False)
    if why_not:
        pytest.skip(why_not)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Let all these skips have one place, so that the summary says the reason in one line."""
    report = yield
    if call.when == "setup" and report.skipped:
        report.longrepr = (__file__, 1, call.excinfo.value.msg)
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
