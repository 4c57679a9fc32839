"""Collects what tests measured and prints it after the run, also of tests that ran in other processes."""

import sys
from collections.abc import Mapping
from typing import Any, Final

import pytest

_WORKER: Final = "hookd summary"
_LINES: Final[dict[str, list[str]]] = {}


def bring(config: pytest.Config) -> None:
    """Register this plugin once, for a conftest's own `pytest_configure`."""
    if not config.pluginmanager.has_plugin(__name__):
        config.pluginmanager.register(sys.modules[__name__], __name__)


def note(section: str, line: str) -> None:
    """Keep one line for a section of the summary."""
    _LINES.setdefault(section, []).append(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the lines to the process that prints the summary, if this is a worker of pytest-xdist."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER] = _LINES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the lines of a worker that ended. A crashed worker sends none."""
    sent: Mapping[str, list[str]] = getattr(node, "workeroutput", {}).get(_WORKER, {})
    for section, lines in sent.items():
        _LINES.setdefault(section, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each section."""
    for section, lines in _LINES.items():
        terminalreporter.section(section)
        for line in lines:
            terminalreporter.write_line(line)
