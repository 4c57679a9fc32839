"""The output of systemctl: warnings about sockets are left out of the log."""

import pytest

from worker.service.manager import is_unexpected


@pytest.mark.parametrize(
    "line",
    [
        "Warning: Stopping shop-blue.service, but it can still be activated by:",
        "Stopping 'shop-blue.service', but its triggering units are still active:",
        "  shop.socket",
        "shop-blue-health.socket",
    ],
)
def test_socket_warnings_are_expected(line: str) -> None:
    assert not is_unexpected(line)


@pytest.mark.parametrize("line", ["Failed to stop shop.socket: Access denied", "Job for shop-blue.service failed."])
def test_other_output_is_unexpected(line: str) -> None:
    assert is_unexpected(line)
