"""The apps of one installation, and the conflicts of two."""

import re
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.catalogue import Catalogue


def app(name: str = "blog", **over: Any) -> App:
    """Return an app with the fewest keys and the test's additions."""
    table = {
        "name": name,
        "repository": f"ssh://git@example.org/acme/{name}.git",
        "full_name": f"acme/{name}",
        "root": f"/srv/{name}",
        "health": {"url": "http://127.0.0.1:8000/healthz"},
    }
    return App.model_validate({**table, **over})


def test_separate_apps_do_not_conflict() -> None:
    assert Catalogue(apps=(app("shop"), app(), app("wiki"))).conflicts() == []


@pytest.mark.threat(69)
@pytest.mark.parametrize("root", ["/srv/shop", "/srv/shop/blog", "/srv"])
def test_nested_roots_conflict(root: str) -> None:
    [clash] = Catalogue(apps=(app("shop"), app(root=root))).conflicts()
    assert re.fullmatch(r"(shop and blog|blog and shop): one root lies in the other \(.*\)", str(clash))


def test_shared_service_conflicts() -> None:
    [clash] = Catalogue(apps=(app("shop"), app(service={"name": "shop"}))).conflicts()
    assert str(clash) == "shop and blog: the same service (shop)"


def test_colour_name_conflicts() -> None:
    coloured = app("shop", service={"handover": "blue-green"}, health={"url": "unix:/run/{colour}:/"})
    assert coloured.services == {"shop-blue", "shop-green"}
    [clash] = Catalogue(apps=(coloured, app(service={"name": "shop-green"}))).conflicts()
    assert str(clash) == "shop and blog: the same service (shop-green)"


def test_managers_have_separate_names() -> None:
    circus = {"manager": "circus", "endpoint": "ipc:///run/circus.sock", "name": "shop"}
    assert Catalogue(apps=(app("shop"), app(service=circus))).conflicts() == []


def test_app_by_exact_name() -> None:
    catalogue = Catalogue(apps=(app("shop"),))
    assert catalogue.get("shop") == app("shop")
    assert catalogue.get("sho") is None
