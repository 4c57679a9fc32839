"""One app that breaks a look costs the others nothing."""

import logging
from typing import cast

import pytest

from hookd.contract.catalogue import App
from tests.unit.test_doctor_services import app
from worker.look import Looker
from worker.reconcile import look_at


class Broken:
    """Stands for a look that meets what nobody thought of."""

    def look(self, app: App) -> bool:
        """Fail as no look should."""
        raise OverflowError(f"date value out of range for {app.name}")


@pytest.mark.threat(40)
def test_what_nobody_thought_of_ends_one_look_and_is_said_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert look_at(cast("Looker", Broken()), app("restart"), "one") == 1
    assert ["hookd failed" in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].exc_info is not None
