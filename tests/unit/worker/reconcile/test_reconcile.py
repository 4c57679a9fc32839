"""One app that breaks a look costs the others nothing."""

import logging
from typing import cast

import pytest

from hookd.model.app import App
from tests.support.apps import app
from worker.reconcile.__main__ import reconcile_app
from worker.reconcile.reconciler import Reconciler


class Broken:
    """Stands for a look that meets what nobody thought of."""

    def look(self, app: App) -> bool:
        """Fail as no look should."""
        raise OverflowError(f"date value out of range for {app.name}")


@pytest.mark.threat(40)
def test_what_nobody_thought_of_ends_one_look_and_is_said_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert reconcile_app(cast("Reconciler", Broken()), app("restart"), "one") == 1
    assert ["hookd failed" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].exc_info is not None
