"""One app's defect holds up no other app."""

import logging
from typing import cast

import pytest

from hookd.model.app import App
from tests.support.apps import app
from worker.reconcile.__main__ import reconcile_app
from worker.reconcile.reconciler import Reconciler


class Broken:
    """A reconciler with a defect."""

    def reconcile(self, app: App) -> bool:
        """Raise an unexpected error."""
        raise OverflowError(f"date value out of range for {app.name}")


@pytest.mark.threat(40)
def test_unexpected_error_has_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert reconcile_app(cast("Reconciler", Broken()), app("restart")) == 1
    assert ["hookd failed" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].exc_info is not None
