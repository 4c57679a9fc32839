"""The user of a new app, and the accounts that its removal leaves to others."""

from pathlib import Path

import pytest

from hookd.model.app import App
from hookd.model.catalogue import Catalogue
from tests.support.rendered import BLOG, SHOP, make_entry
from units.apps.accounts import users
from units.apps.accounts.users import account_changes, default_user
from units.changes.accounts import Group, User
from units.changes.change import Run
from units.changes.manifest import Manifest, Resource
from units.system.errors import Refused

HOST_WITH_SHOP = Catalogue(apps=(SHOP,))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "manifest.json")


def own(name: str, user: str, **ownership: str) -> App:
    return make_entry(name, {"units": "hookd"}, f"unix:/{name}.sock:/", ownership={"user": user, **ownership})


@pytest.mark.threat(69)
def test_first_app_is_www_data(manifest: Manifest) -> None:
    assert default_user("shop", Catalogue(), manifest) == "www-data"
    assert default_user("shop", HOST_WITH_SHOP, manifest) == "www-data", "an interrupted command continues"


@pytest.mark.threat(69)
def test_later_app_gets_its_own_user(manifest: Manifest) -> None:
    assert default_user("blog", HOST_WITH_SHOP, manifest) == "blog"
    assert default_user("blog", Catalogue(apps=(SHOP, own("blog", "team"))), manifest) == "team"


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody", "the user nobody exists, and hookd did not make it"),
        ("nogroup", "the group nogroup exists, and hookd did not make it"),
        ("mail", "ownership.user: mail belongs to a service of the system"),
        ("docker", "ownership.group: docker is not for apps"),
    ],
)
def test_taken_name_needs_another_user(manifest: Manifest, name: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        default_user(name, HOST_WITH_SHOP, manifest)
    assert (refused.value.hint or "").endswith(f" --user {name}-app")


def test_interrupted_add_keeps_its_user(manifest: Manifest) -> None:
    manifest.resources += [Resource("app:nobody", "user", "nobody")]
    assert default_user("nobody", HOST_WITH_SHOP, manifest) == "nobody"


@pytest.mark.threat(69)
def test_worker_joins_the_apps_group() -> None:
    builder, group, user, worker, restart = account_changes(own("blog", "blog"))
    assert isinstance(builder, User) and (builder.name, builder.group) == ("hookd-build-blog", "hookd-build")
    assert isinstance(group, Group) and group.name == "blog"
    assert isinstance(user, User) and (user.name, user.group, user.groups) == ("blog", "blog", ())
    assert isinstance(worker, User) and (worker.name, worker.groups) == ("manager", ("blog",))
    assert isinstance(restart, Run) and restart.is_triggered_by(worker)
    # Without blocking: a running deployment ends first.
    assert restart.argv[:3] == ("systemctl", "restart", "--no-block")


def test_www_data_is_the_hosts_own() -> None:
    builder = "user       hookd-build-blog (group hookd-build, no login)"
    assert [str(change) for change in account_changes(BLOG)] == [builder]
    assert [str(change) for change in account_changes(own("blog", "blog", group="www-data"))] == [
        builder,
        "user       blog (group www-data, no login)",
    ]


@pytest.mark.threat(71)
def test_shared_account_changes_hands(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove an app whose command made the user of two."""
    kinds = {"group": "team", "user": "team", "member": "manager team"}
    manifest.resources += [Resource("app:shop", kind, name) for kind, name in kinds.items()]  # type: ignore[arg-type]
    manifest.resources += [Resource("app:shop", "group", "old")]
    removed: list[Resource] = []
    monkeypatch.setattr(users, "remove_accounts", lambda _, found, *__, **___: removed.extend(found))
    users.release_accounts(manifest, "app:shop", [own("blog", "team")], print, dry_run=False)
    assert removed == [Resource("app:shop", "group", "old")]
    assert {(left.scope, left.kind) for left in manifest.resources if left.name != "old"} == {
        ("app:blog", kind) for kind in kinds
    }
