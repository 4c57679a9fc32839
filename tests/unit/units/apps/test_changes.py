"""The changes for an app: owners, order, and reloads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.rendered import make_entry
from tests.unit.units.apps.table.test_options import SSH, app_of
from units.apps.changes import InitialContents, app_changes, units_of
from units.apps.table.options import AddOptions
from units.changes.change import Changes, Directory, File, Run

UNIT = File(Path("/etc/systemd/system/shop.socket"), "[Socket]\n")
SITE = File(Path("/etc/nginx/sites-available/hookd-shop"), "server {}\n")
WITH_DATA = replace(SSH, files=(".env",), data=("uploads", "var/logs"))


def changes_of(options: AddOptions = WITH_DATA, *files: File, initial: InitialContents | None = None) -> Changes:
    """Return the changes for these options."""
    return app_changes(app_of(options), "name = 1\n", initial or InitialContents("s" * 64), files)


def directory(changes: Changes, path: str) -> Directory:
    """Return one directory of the changes."""
    return next(change for change in changes if isinstance(change, Directory) and change.path == Path(path))


def file(changes: Changes, path: str) -> File:
    """Return one file of the changes."""
    return next(change for change in changes if isinstance(change, File) and change.path == Path(path))


@pytest.mark.parametrize(
    ("policy", "root", "env"),
    [
        ("group", ("manager", "www-data", 0o2750), ("manager", "www-data", 0o640)),
        ("split", ("manager", "manager", 0o755), ("manager", "www-data", 0o640)),
        ("acl", ("manager", "manager", 0o750), ("manager", "manager", 0o640)),
    ],
)
def test_who_owns_the_code(policy: str, root: tuple[str, str, int], env: tuple[str, str, int]) -> None:
    changes = changes_of(replace(WITH_DATA, policy=policy))
    one, two = directory(changes, "/srv/shop"), file(changes, "/srv/shop/shared/.env")
    assert (one.owner, one.group, one.mode) == root
    assert (two.owner, two.group, two.mode) == env


def test_nginx_sees_releases_of_a_site() -> None:
    site = make_entry("shop", {"units": "hookd"}, "unix:/s.sock:/", site={"domain": "shop.example.org"})
    changes = app_changes(site, "", InitialContents("s" * 64), ())
    assert [directory(changes, f"/srv/shop{name}").mode for name in ("", "/releases", "/shared")] == [
        0o2751,
        0o2751,
        0o2750,
    ]


def test_data_directories_belong_to_the_app() -> None:
    changes = changes_of()
    assert str(directory(changes, "/var/lib/shop/uploads")).endswith("www-data:www-data 2770")
    assert str(directory(changes, "/var/lib/shop/var/logs")).endswith("www-data:www-data 2770")
    for path in ("/var/lib/shop", "/var/lib/shop/var"):
        assert str(directory(changes, path)).endswith("root:root 0755")


@pytest.mark.threat(69)
@pytest.mark.parametrize("policy", ["group", "split", "acl"])
def test_own_user_keeps_others_out(policy: str) -> None:
    app = make_entry("shop", {"units": "hookd"}, "unix:/s.sock:/", ownership={"user": "shop", "policy": policy})
    changes = app_changes(app, "", InitialContents("s" * 64), ())
    owned = [change for change in changes if isinstance(change, Directory | File)]
    assert str(directory(changes, "/var/lib/shop/uploads")).endswith("shop:shop 2770")
    assert {change.group for change in owned} <= {"shop", "manager", "root"}
    assert {change.owner for change in owned} <= {"shop", "manager", "root"}


def test_what_an_app_keeps_outlives_hookd() -> None:
    assert all(change.removal == "keep" for change in changes_of() if isinstance(change, Directory))


def test_secret_is_roots_and_kept() -> None:
    secret = file(changes_of(), "/etc/hookd/secrets/shop")
    assert (secret.owner, secret.mode, secret.existing, secret.text) == ("root", 0o600, "keep", "s" * 64 + "\n")
    assert "s" * 64 not in repr(secret) + str(secret)


def test_worker_cannot_write_the_variables() -> None:
    environment = file(changes_of(initial=InitialContents("s" * 64, "A=1\n")), "/etc/hookd/env/shop")
    assert (environment.owner, environment.group, environment.mode, environment.text) == (
        "root", "manager", 0o640, "A=1\n",
    )  # fmt: skip


def test_initial_shared_file_is_written() -> None:
    initial = InitialContents("s" * 64, None, {".env": "KEY=value\n"})
    assert file(changes_of(initial=initial), "/srv/shop/shared/.env").text == "KEY=value\n"


def test_directories_come_from_the_outside_in() -> None:
    paths = [change.path for change in changes_of() if isinstance(change, Directory)]
    for number, path in enumerate(paths):
        assert not [later for later in paths[number + 1 :] if path.is_relative_to(later)]


def test_nginx_reloads_only_for_a_site() -> None:
    def nginx(changed: File) -> list[str]:
        commands = [change for change in changes_of(WITH_DATA, UNIT, SITE) if isinstance(change, Run)]
        return [
            " ".join(change.argv) for change in commands if "nginx" in str(change) and change.is_triggered_by(changed)
        ]

    assert nginx(UNIT) == []
    assert nginx(SITE) == ["nginx -t -q", "systemctl reload-or-restart nginx.service"]


def test_units_are_read_before_enabled() -> None:
    argvs = [" ".join(change.argv) for change in changes_of(WITH_DATA, UNIT) if isinstance(change, Run)]
    assert argvs.index("systemctl daemon-reload") == 0
    assert "systemctl enable --now --quiet shop.socket shop.service" in argvs


def test_first_deployment_starts_a_single_service() -> None:
    changes = changes_of(replace(WITH_DATA, handover="restart"), UNIT)
    assert "systemctl enable --quiet shop.socket shop.service" in [
        " ".join(change.argv) for change in changes if isinstance(change, Run)
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
