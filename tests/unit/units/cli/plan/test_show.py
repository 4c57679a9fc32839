"""The plan of a repository as a person sees it."""

import pytest

from hookd.model.plan import Finding, Plan
from tests.unit.units.cli.plan.plans import PLAN
from units.apps.repository.inspection import Head
from units.cli.plan.show import show_plan

HEAD = Head("/mirror", "0123456789abcdef", "main")


def test_plan_names_sources_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan("acme/shop", HEAD, PLAN)
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert all(part in found["entry"] for part in ("shop:app", "shop.py, line 3", "--entry"))
    assert "npm ci && npm run build" in found["build"] and "--set build.commands=" in found["build"]
    assert "rq worker 'two words'" in found["worker"]
    assert "SECRET_KEY" in found and "DEBUG" not in found and "LFS files" in found["note:"]


def test_plan_shows_all_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    findings = (
        Finding("processes.rq", {"command": ["rq", "worker"], "count": "30"}, "Procfile"),
        Finding("timers.tidy", {"command": ["tidy"], "schedule": "hourly"}, "cron.py"),
    )
    show_plan("acme/shop", HEAD, Plan("flask", findings))
    printed = capsys.readouterr().out
    assert "rq worker, count=30" in printed and "tidy, schedule=hourly" in printed


def test_plan_leaves_out_given_keys(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan("acme/shop", HEAD, PLAN, {"service.entry"})
    assert "shop:app" not in capsys.readouterr().out
