"""docs/apps.md shows each kind of app with the plan that hookd makes of it."""

import pytest

from tests.support import app_plans

PAGE = app_plans.PAGE.read_text()


def test_each_kind_has_a_section() -> None:
    assert sorted(app_plans.written(PAGE)) == app_plans.KINDS


@pytest.mark.parametrize("kind", app_plans.KINDS)
def test_shown_plan_is_current(kind: str) -> None:
    assert app_plans.written(PAGE)[kind] == app_plans.block(kind), "run python -m tests.support.app_plans"
