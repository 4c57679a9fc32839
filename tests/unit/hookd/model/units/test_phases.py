"""The phases of an app, and the command of its check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.units.phases import build_user, check_command, phases_of, possible_units_of_phases, units_of_phases
from tests.support.rendered import make_entry


def app_with(service: Mapping[str, Any] | None = None, **over: Any) -> App:
    return make_entry("shop", service or {}, "http://127.0.0.1:9/", **over)


@pytest.mark.parametrize(
    ("over", "phases"),
    [
        ({}, ("build", "check")),
        ({"service": {"preflight": []}}, ("build",)),
        ({"release": {"commands": [["true"]]}}, ("build", "check", "release")),
        ({"release": {"commands": [["true"]], "backup": "sqlite"}}, ("build", "check", "backup", "release")),
        ({"service": {"manager": "circus", "endpoint": "ipc:///tmp/x"}}, ()),
    ],
    ids=["plain", "no check", "migrations", "backup", "circus"],
)
def test_phases_follow_the_configuration(over: dict[str, Any], phases: tuple[str, ...]) -> None:
    assert phases_of(app_with(**over)) == phases


@pytest.mark.threat(88)
def test_build_users_differ() -> None:
    long = "a" * 31
    names = [
        build_user(make_entry(name, {}, "http://127.0.0.1:9/")) for name in ("shop", "blog", f"{long}b", f"{long}c")
    ]
    assert names[:2] == ["hookd-build-shop", "hookd-build-blog"]
    assert names[2] != names[3] and {len(name) for name in names[2:]} == {32}


def test_backup_has_three_units() -> None:
    backup = {"shop-backup.service", "shop-dump.service", "shop-restore.service"}
    assert not backup & set(units_of_phases(app_with()))
    app = app_with(release={"commands": [["true"]], "backup": "sqlite"})
    assert set(units_of_phases(app)) == set(possible_units_of_phases(app)) >= backup


def test_circus_has_no_units_of_phases() -> None:
    app = app_with(
        {"manager": "circus", "endpoint": "ipc:///tmp/x"}, release={"commands": [["true"]], "backup": "sqlite"}
    )
    assert units_of_phases(app) == ()


def test_check_reads_the_service_configuration() -> None:
    app = app_with({"entry": "shop:make()"})
    assert check_command(app, Path("/in_app")) == ("python", "/in_app", "--check", "shop:make()")
    app = app_with({"entry": "shop:make()", "workers": 3, "worker_class": "asgi"})
    options = ("--worker-class", "asgi", "--workers", "3")
    assert check_command(app, Path("/in_app")) == ("python", "/in_app", "--check", *options, "shop:make()")


def test_own_command_has_no_check() -> None:
    assert check_command(app_with({"units": "hookd", "command": ["serve"]})) == ()


def test_own_check_command() -> None:
    assert check_command(app_with({"preflight": ["true", "x y"]})) == ("true", "x y")
    assert check_command(app_with({"preflight": []})) == ()
