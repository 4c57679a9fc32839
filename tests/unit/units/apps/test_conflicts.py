"""Conflicts of an app with hookd, with the system, and with other apps."""

from typing import Any

import pytest

from hookd.model.app import App
from tests.support.rendered import ADOPTED, AT_HOME, BLOG, FOREIGN, SHOP, make_entry
from units.apps.conflicts import app_conflicts

PROTOCOLS = ("https", "ssh")


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
    assert f"{name}: the name is reserved for hookd's own units; choose another one" in told(entry(name))


@pytest.mark.threat(69)
@pytest.mark.parametrize("name", ["shop-blue", "shop-green", "shop-interim", "shop-check"])
def test_unit_of_another_app_conflicts(name: str) -> None:
    new, wanted = entry(name), f"both would have the unit {name}.service; choose another name"
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
@pytest.mark.parametrize("user", ["root", "manager", "hookd", "hookd-redis"])
def test_privileged_user_is_refused(user: str) -> None:
    assert told(entry("shop", ownership={"user": user})) == [f"ownership.user: an app does not run as {user}"]


@pytest.mark.parametrize("group", ["root", "sudo", "shadow", "hookd-queue"])
def test_privileged_group_is_refused(group: str) -> None:
    assert told(entry("shop", ownership={"group": group})) == [f"ownership.group: {group} is not for apps"]


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
    assert found.endswith("only root may write there, as in /etc/hookd/env/shop")
    assert told(entry("shop", service={"units": "hookd", "environment_file": "/etc/hookd/env/shop"})) == []
