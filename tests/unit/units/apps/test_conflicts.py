"""Conflicts of an app with hookd, with the system, and with other apps."""

from typing import Any

import pytest

from hookd.model.app import App
from tests.support.rendered import ADOPTED, AT_HOME, BLOG, FOREIGN, SHOP, make_entry
from units.apps.conflicts import app_conflicts

PROTOCOLS = ("https", "ssh")
OTHER_NAME = "\n    next: sudo hookd app add NAME --repo URL"


def entry(name: str, *, service: dict[str, Any] | None = None, health: str | None = None, **tables: Any) -> App:
    return make_entry(name, service or {"units": "hookd"}, health or f"unix:/run/hookd-apps/{name}.sock:/", **tables)


def told(app: App, *others: App, protocols: tuple[str, ...] = PROTOCOLS) -> list[str]:
    return list(app_conflicts(app, others, protocols))


@pytest.mark.parametrize("app", [SHOP, BLOG, ADOPTED, FOREIGN, AT_HOME], ids=lambda app: app.name)
def test_ordinary_apps_have_no_conflicts(app: App) -> None:
    assert told(app, *(other for other in (SHOP, BLOG, ADOPTED, FOREIGN, AT_HOME) if other != app)) == []


@pytest.mark.threat(69)
@pytest.mark.parametrize("name", ["hookd", "hookd-redis", "hookd-worker", "hookd-shop"])
def test_hookd_s_own_names_are_taken(name: str) -> None:
    assert f"{name}: the name is reserved for hookd's own units{OTHER_NAME}" in told(entry(name))


@pytest.mark.threat(69)
@pytest.mark.parametrize("name", ["shop-blue", "shop-green", "shop-interim", "shop-trial", "shop-check"])
def test_unit_of_another_app_conflicts(name: str) -> None:
    new, wanted = entry(name), f"both would have the unit {name}.service{OTHER_NAME}"
    assert f"{name} and shop: {wanted}" in told(new, SHOP)
    assert f"shop and {name}: {wanted}" in told(SHOP, new)


@pytest.mark.parametrize("place", ["unix:/run/hookd-apps/shop.sock", "unix:/run/hookd-apps/shop-blue.sock"])
def test_another_app_s_socket_is_taken(place: str) -> None:
    new = entry("other", service={"units": "hookd", "listen": place})
    assert told(new, SHOP) == [f"other and shop: both would listen on {place}"]


def test_existing_unit_s_socket_conflicts() -> None:
    new = entry("other", service={"units": "hookd", "listen": "127.0.0.1:8000"}, health="http://127.0.0.1:8000/")
    assert told(new, ADOPTED) == ["other and old: both would listen on 127.0.0.1:8000"]


@pytest.mark.parametrize(("url", "used"), [("http://h/a/b", "http"), ("file:///srv/git/b.git", "file")])
def test_forbidden_git_protocol_is_refused(url: str, used: str) -> None:
    (found,) = told(entry("shop").model_copy(update={"repository": url}))
    assert found.startswith(f"repository: git may not use {used} here, only https, ssh")
    assert told(entry("shop").model_copy(update={"repository": url}), protocols=(used,)) == []


@pytest.mark.parametrize("url", ["git@h:a/b.git", "ssh://git@h/a/b", "https://h/a/b"])
def test_the_usual_transports_are_allowed(url: str) -> None:
    assert told(entry("shop").model_copy(update={"repository": url})) == []


@pytest.mark.threat(69)
@pytest.mark.parametrize("user", ["root", "manager", "hookd", "hookd-redis", "hookd-build"])
def test_privileged_user_is_refused(user: str) -> None:
    assert told(entry("shop", ownership={"user": user})) == [f"ownership.user: an app does not run as {user}"]


@pytest.mark.threat(69)
@pytest.mark.parametrize("user", ["sshd", "systemd-network", "_apt", "postgres", "mail", "nginx"])
def test_user_of_a_service_is_refused(user: str) -> None:
    (found,) = told(entry("shop", ownership={"user": user}))
    assert found == f"ownership.user: {user} belongs to a service of the system"


@pytest.mark.threat(69)
@pytest.mark.parametrize("user", ["www-data", "shop", "shop-app", "hookdemo"])
def test_ordinary_user_is_allowed(user: str) -> None:
    assert told(entry("shop", ownership={"user": user})) == []


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    "group",
    "root sudo wheel adm disk shadow docker lxd libvirt kvm systemd-journal staff mail ssl-cert hookd-queue"
    " hookd-build manager hookd".split(),
)
def test_privileged_group_is_refused(group: str) -> None:
    assert told(entry("shop", ownership={"group": group})) == [f"ownership.group: {group} is not for apps"]


@pytest.mark.threat(69)
@pytest.mark.parametrize("group", ["sudo", "docker", "hookd-queue", "manager"])
def test_powerful_group_of_user_is_refused(monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    monkeypatch.setattr("units.apps.accounts.rules.groups_of", lambda _: {"alice", "cdrom", group})
    (found,) = told(entry("shop", ownership={"user": "alice"}))
    assert found == f"ownership.user: alice is in the group {group}\n    next: sudo gpasswd --delete alice {group}"


@pytest.mark.threat(69)
def test_group_of_that_name_is_checked() -> None:
    """Refuse a missing user whose name is a powerful group's."""
    assert told(entry("shop", ownership={"user": "docker"})) == ["ownership.group: docker is not for apps"]


@pytest.mark.threat(69)
@pytest.mark.parametrize("path", ["/", "/etc", "/etc/shop", "/usr/local/shop", "/var/lib/hookd/x", "/var/lib", "/opt"])
def test_system_paths_are_refused(path: str) -> None:
    """`permissions --fix` would change its owner, and a deployment would write to it."""
    assert f"root: {path} belongs to the system" in told(entry("shop", root=path))
    assert f"shared.root: {path} belongs to the system" in told(entry("shop", shared={"root": path}))
    assert f"shared.data: {path} belongs to the system" in told(entry("shop", shared={"data": path}))


@pytest.mark.parametrize("path", ["/srv/shop", "/opt/shop", "/home/me/shop", "/var/lib/shop", "/var/www/shop"])
def test_places_for_apps_are_allowed(path: str) -> None:
    assert told(entry("shop", root=path, shared={"data": path})) == []


def test_only_hookd_s_own_keys_pass() -> None:
    (found,) = told(entry("shop", deploy_key="/etc/shadow"))
    assert found == "deploy_key: /etc/shadow belongs to the system; hookd's keys lie in /var/lib/hookd/keys"
    assert told(entry("shop", deploy_key="/var/lib/hookd/keys/shop")) == []


@pytest.mark.threat(26)
def test_variables_must_be_roots() -> None:
    (found,) = told(entry("shop", service={"units": "hookd", "environment_file": "/srv/shop/shared/.env"}))
    assert found == (
        "service.environment_file: systemd reads /srv/shop/shared/.env as root, use /etc/hookd/env/shop\n"
        "    next: sudoedit /etc/hookd/env/shop"
    )
    assert told(entry("shop", service={"units": "hookd", "environment_file": "/etc/hookd/env/shop"})) == []


@pytest.mark.threat(26)
@pytest.mark.parametrize("service", [{"listen": "127.0.0.1:8000"}, {"own_socket": True}], ids=str)
@pytest.mark.parametrize("path", ["/srv/shop/shared/.env", "/etc/hookd/secrets/shop", "/etc/shadow"])
def test_drop_in_reads_roots_variables_only(service: dict[str, Any], path: str) -> None:
    (found,) = told(entry("shop", service={**service, "environment_file": path}))
    assert found.startswith(f"service.environment_file: systemd reads {path} as root")


@pytest.mark.threat(26)
@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/hookd/secrets/shop", "/var/lib/hookd/keys/blog", "/proc/1/environ"]
)
def test_builds_read_no_system_file(path: str) -> None:
    wanted = f"build.environment_file: {path} belongs to the system, unlike /etc/hookd/env/shop.build"
    assert told(entry("shop", build={"environment_file": path})) == [wanted]


@pytest.mark.parametrize("path", ["/etc/hookd/env/shop", "/srv/shop/shared/.env", "/home/me/shop.env"])
def test_builds_read_variables_of_apps(path: str) -> None:
    assert told(entry("shop", build={"environment_file": path})) == []


@pytest.mark.threat(21)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UV_INDEX_URL", "https://me:canary@index.example.org/simple"),
        ("UV_INDEX_URL", "https://canary@index.example.org/simple"),
        ("UV_EXTRA_INDEX_URL", "https://one.example.org/ https://me:canary@two.example.org/"),
        ("UV_FIND_LINKS", "https://index.example.org/?access_token=canary"),
        ("UV_INDEX_ACME_PASSWORD", "canary"),
    ],
)
def test_credential_in_the_file_is_refused(name: str, value: str) -> None:
    (found,) = told(entry("shop", dependencies={"environment": {name: value}}))
    assert found.startswith(f"dependencies.environment.{name} holds a credential")
    assert found.endswith("next: sudoedit /etc/hookd/worker.env")
    assert "canary" not in found


@pytest.mark.threat(21)
def test_credential_for_builds_is_refused() -> None:
    (found,) = told(entry("shop", build={"environment": {"DATABASE_URL": "postgres://me:canary@db/shop"}}))
    assert found.startswith("build.environment.DATABASE_URL holds a credential")
    assert found.endswith("next: sudoedit /etc/hookd/env/shop.build")


def test_ordinary_variables_are_allowed() -> None:
    ordinary = {"UV_INDEX_URL": "https://index.example.org/simple?page=1", "UV_OFFLINE": "1", "UV_LINKS": "a@b [x"}
    builds = {"SECRET_KEY": "for the build", "NODE_ENV": "production", "REPO": "ssh://git@host/a.git"}
    assert told(entry("shop", dependencies={"environment": ordinary}, build={"environment": builds})) == []


@pytest.mark.parametrize("name", ["api", "api-blue"])
def test_timer_replaces_no_web_unit(name: str) -> None:
    timers = {name: {"command": ["true"], "schedule": "hourly"}}
    app = entry("shop", service={"units": "hookd", "name": "shop-api"}, timers=timers)
    assert any(f"shop-{name}.service would be" in problem for problem in told(app))
