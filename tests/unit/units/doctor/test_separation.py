"""Apps that share a user or a group are reported with the command that separates them."""

from typing import Any

import pytest

from hookd.model.app import App
from tests.support.rendered import make_entry
from units.doctor.checks.separation import shared_groups, shared_users


def app(name: str, user: str | None = None, *, units: str = "hookd", **ownership: Any) -> App:
    owner = {"user": user or name, **ownership}
    return make_entry(name, {"units": units}, "http://127.0.0.1:8000/", ownership=owner)


@pytest.mark.threat(69)
def test_shared_user_is_reported_once() -> None:
    apps = [app("shop", "www-data"), app("blog", "www-data"), app("wiki", "www-data"), app("other")]
    (found,) = shared_users(apps)
    assert (found.level, found.message) == ("warning", "shop, blog, wiki all run as www-data: each can stop the others")
    assert found.hint == "sudo hookd app edit blog --set ownership.user=blog"


def test_existing_unit_changes_first() -> None:
    (found,) = shared_users([app("shop", "www-data"), app("blog", "www-data", units="existing")])
    assert (found.hint or "").startswith("sudo systemctl edit blog.service; sudo hookd app edit blog --set")


@pytest.mark.threat(69)
@pytest.mark.parametrize(
    ("apps", "groups", "message", "hint"),
    [
        (
            [app("shop", "www-data"), app("blog", group="www-data")],
            {},
            "blog can read shop, because of the group www-data",
            "sudo hookd app edit blog --set ownership.group=blog",
        ),
        (
            [app("shop"), app("blog")],
            {"blog": {"blog", "shop"}},
            "blog can read shop, because of the group shop",
            "sudo gpasswd --delete blog shop",
        ),
    ],
)
def test_shared_group_is_reported(apps: list[App], groups: dict[str, set[str]], message: str, hint: str) -> None:
    found = list(shared_groups(apps, {one.ownership.user: groups.get(one.name, set()) for one in apps}))
    assert (message, hint) in [(one.message, one.hint) for one in found]


def test_separate_apps_are_well() -> None:
    apps = [app("shop", "www-data"), app("blog"), app("wiki")]
    groups = {"www-data": {"www-data"}, "blog": {"blog"}, "wiki": {"wiki", "cdrom"}}
    assert [*shared_users(apps), *shared_groups(apps, groups)] == []
