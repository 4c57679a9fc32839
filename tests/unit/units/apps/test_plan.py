"""The plan of an app: owners, order, and reloads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.rendered import make_entry
from tests.unit.units.apps.test_options import SSH, app_of
from units.apps.options import AddOptions
from units.apps.plan import InitialContents, app_plan, units_of
from units.plan.steps import Directory, File, Plan, Run

UNIT = File(Path("/etc/systemd/system/shop.socket"), "[Socket]\n")
SITE = File(Path("/etc/nginx/sites-available/hookd-shop"), "server {}\n")
WITH_DATA = replace(SSH, files=(".env",), data=("uploads", "var/logs"))


def plan(options: AddOptions = WITH_DATA, *files: File, initial: InitialContents | None = None) -> Plan:
    """Return the plan for these options."""
    return app_plan(app_of(options), "name = 1\n", initial or InitialContents("s" * 64), files)


def directory(steps: Plan, path: str) -> Directory:
    """Return one directory of a plan."""
    return next(step for step in steps if isinstance(step, Directory) and step.path == Path(path))


def file(steps: Plan, path: str) -> File:
    """Return one file of a plan."""
    return next(step for step in steps if isinstance(step, File) and step.path == Path(path))


@pytest.mark.parametrize(
    ("policy", "root", "env"),
    [
        ("group", ("manager", "www-data", 0o2750), ("manager", "www-data", 0o640)),
        ("split", ("manager", "manager", 0o755), ("manager", "www-data", 0o640)),
        ("acl", ("manager", "manager", 0o750), ("manager", "manager", 0o640)),
    ],
)
def test_who_owns_the_code(policy: str, root: tuple[str, str, int], env: tuple[str, str, int]) -> None:
    steps = plan(replace(WITH_DATA, policy=policy))
    one, two = directory(steps, "/srv/shop"), file(steps, "/srv/shop/shared/.env")
    assert (one.owner, one.group, one.mode) == root
    assert (two.owner, two.group, two.mode) == env


def test_nginx_sees_releases_of_a_site() -> None:
    site = make_entry("shop", {"units": "hookd"}, "unix:/s.sock:/", site={"domain": "shop.example.org"})
    steps = app_plan(site, "", InitialContents("s" * 64), ())
    assert [directory(steps, f"/srv/shop{name}").mode for name in ("", "/releases", "/shared")] == [
        0o2751,
        0o2751,
        0o2750,
    ]


def test_data_directories_belong_to_the_app() -> None:
    steps = plan()
    assert str(directory(steps, "/var/lib/shop/uploads")).endswith("www-data:www-data 2770")
    assert str(directory(steps, "/var/lib/shop/var/logs")).endswith("www-data:www-data 2770")
    for path in ("/var/lib/shop", "/var/lib/shop/var"):
        assert str(directory(steps, path)).endswith("root:root 0755")


@pytest.mark.threat(69)
@pytest.mark.parametrize("policy", ["group", "split", "acl"])
def test_own_user_keeps_others_out(policy: str) -> None:
    app = make_entry("shop", {"units": "hookd"}, "unix:/s.sock:/", ownership={"user": "shop", "policy": policy})
    steps = app_plan(app, "", InitialContents("s" * 64), ())
    owned = [step for step in steps if isinstance(step, Directory | File)]
    assert str(directory(steps, "/var/lib/shop/uploads")).endswith("shop:shop 2770")
    assert {step.group for step in owned} <= {"shop", "manager", "root"}
    assert {step.owner for step in owned} <= {"shop", "manager", "root"}


def test_what_an_app_keeps_outlives_hookd() -> None:
    assert all(step.removal == "keep" for step in plan() if isinstance(step, Directory))


def test_secret_is_roots_and_kept() -> None:
    secret = file(plan(), "/etc/hookd/secrets/shop")
    assert (secret.owner, secret.mode, secret.existing, secret.text) == ("root", 0o600, "keep", "s" * 64 + "\n")
    assert "s" * 64 not in repr(secret) + str(secret)


def test_worker_cannot_write_the_variables() -> None:
    environment = file(plan(initial=InitialContents("s" * 64, "A=1\n")), "/etc/hookd/env/shop")
    assert (environment.owner, environment.group, environment.mode, environment.text) == (
        "root", "manager", 0o640, "A=1\n",
    )  # fmt: skip


def test_initial_shared_file_is_written() -> None:
    initial = InitialContents("s" * 64, None, {".env": "KEY=value\n"})
    assert file(plan(initial=initial), "/srv/shop/shared/.env").text == "KEY=value\n"


def test_directories_come_from_the_outside_in() -> None:
    paths = [step.path for step in plan() if isinstance(step, Directory)]
    for number, path in enumerate(paths):
        assert not [later for later in paths[number + 1 :] if path.is_relative_to(later)]


def test_nginx_reloads_only_for_a_site() -> None:
    def nginx(changed: File) -> list[str]:
        steps = [step for step in plan(WITH_DATA, UNIT, SITE) if isinstance(step, Run)]
        return [" ".join(step.argv) for step in steps if "nginx" in str(step) and step.is_triggered_by(changed)]

    assert nginx(UNIT) == []
    assert nginx(SITE) == ["nginx -t -q", "systemctl reload-or-restart nginx.service"]


def test_units_are_read_before_enabled() -> None:
    argvs = [" ".join(step.argv) for step in plan(WITH_DATA, UNIT) if isinstance(step, Run)]
    assert argvs.index("systemctl daemon-reload") == 0
    assert "systemctl enable --now --quiet shop.socket shop.service" in argvs


def test_first_deployment_starts_a_single_service() -> None:
    steps = plan(replace(WITH_DATA, handover="restart"), UNIT)
    assert "systemctl enable --quiet shop.socket shop.service" in [
        " ".join(step.argv) for step in steps if isinstance(step, Run)
    ]


def test_units_of_each_handover() -> None:
    blue_green = units_of(app_of(SSH))
    assert blue_green[0] == "shop.socket"
    assert set(blue_green) == {
        "shop.socket", "shop.service", "shop-blue.service", "shop-green.service",
        "shop-blue-health.socket", "shop-green-health.socket",
    }  # fmt: skip
    assert units_of(app_of(replace(SSH, handover="restart"))) == ("shop.socket", "shop.service")


@pytest.mark.parametrize(
    ("service", "units"),
    [
        ({}, ("wiki.service",)),
        ({"name": "old"}, ("old.service",)),
        ({"listen": "127.0.0.1:8000"}, ("wiki.socket", "wiki.service")),
        ({"own_socket": True}, ("wiki.socket", "wiki.service")),
        ({"manager": "circus", "endpoint": "ipc:///run/circus.sock"}, ()),
    ],
    ids=str,
)
def test_units_of_an_existing_service(service: dict[str, Any], units: tuple[str, ...]) -> None:
    assert units_of(make_entry("wiki", service, "http://127.0.0.1:8000/")) == units
