"""From the options of `hookd app add` to a file of the catalogue that hookd itself accepts."""

from dataclasses import replace
from typing import Any

import pytest

from hookd.model.app import App
from units.apps.options import BLUE_GREEN_MIB, AddOptions, Remote, app_table, complete_table, parse_remote
from units.apps.plan import app_toml
from units.apps.table import parse_app
from units.system.errors import Refused

SSH = AddOptions("shop", "git@git.example.org:acme/shop.git")


def app_of(options: AddOptions, memory_mib: int = 4096) -> App:
    """The app that a options leads to."""
    return parse_app(options.name, app_table(options, memory_mib=memory_mib))


def test_a_wish_with_nothing_but_a_repository_is_an_app() -> None:
    app = app_of(SSH)
    assert (app.full_name, app.branch, app.sender) == ("acme/shop", "main", "gitea")
    assert str(app.root) == "/srv/shop"
    assert str(app.deploy_key) == "/var/lib/hookd/keys/shop"
    assert app.service.units == "hookd"
    assert app.build.environment_file == app.service.environment_file


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("git@github.com:acme/shop.git", Remote("github.com", None, "acme/shop.git", ssh=True)),
        ("ssh://git@host:2222/acme/shop.git", Remote("host", 2222, "/acme/shop.git", ssh=True)),
        ("https://codeberg.org/acme/shop", Remote("codeberg.org", None, "/acme/shop", ssh=False)),
        ("https://host:notaport/x", Remote("", None, "https://host:notaport/x", ssh=False)),
    ],
)
def test_where_a_repository_is(url: str, remote: Remote) -> None:
    assert parse_remote(url) == remote


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("git@github.com:acme/shop.git", "github"),
        ("https://codeberg.org/acme/shop", "forgejo"),
        ("git@elsewhere.example:acme/shop.git", "gitea"),
    ],
)
def test_the_sender_is_guessed_from_the_host(url: str, sender: str) -> None:
    assert app_of(replace(SSH, repository=url)).sender == sender


def test_a_repository_that_is_read_without_ssh_needs_no_key() -> None:
    assert app_of(replace(SSH, repository="https://host/acme/shop.git")).deploy_key is None


@pytest.mark.parametrize(("memory", "handover"), [(BLUE_GREEN_MIB, "blue-green"), (BLUE_GREEN_MIB - 1, "restart")])
def test_two_releases_side_by_side_need_memory(memory: int, handover: str) -> None:
    assert app_of(SSH, memory).service.handover == handover


def test_a_choice_is_not_overruled_by_memory() -> None:
    assert app_of(replace(SSH, handover="blue-green"), 100).service.handover == "blue-green"


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "unix:/run/hookd-apps/shop-{colour}.sock:/healthz"),
        ({"handover": "restart"}, "unix:/run/hookd-apps/shop.sock:/healthz"),
        ({"handover": "restart", "listen": "127.0.0.1:8000", "health": "/up"}, "http://127.0.0.1:8000/up"),
        ({"handover": "restart", "listen": "unix:/run/x.sock"}, "unix:/run/x.sock:/healthz"),
        ({"listen": "127.0.0.1:8000"}, "unix:/run/hookd-apps/shop-{colour}.sock:/healthz"),
    ],
)
def test_where_the_release_is_asked_for_its_health(changes: dict[str, Any], url: str) -> None:
    assert app_of(replace(SSH, **changes)).health.url == url


def test_what_outlives_releases_stands_apart_from_the_code() -> None:
    app = app_of(replace(SSH, files=(".env",), data=("uploads", "logs")))
    assert (app.shared.files, app.shared.directories) == ((".env",), ("uploads", "logs"))
    assert (str(app.shared_root), str(app.data_root)) == ("/srv/shop/shared", "/var/lib/shop")


def test_a_domain_makes_a_site_and_is_the_host_of_the_health_question() -> None:
    app = app_of(replace(SSH, domain="shop.example.org"))
    assert (app.site.domain, app.health.host) == ("shop.example.org", "shop.example.org")


@pytest.mark.parametrize("name", ["Shop", "1shop", "shop_2", "", "../etc", "a" * 33, "shop\n"])
def test_a_name_that_is_no_apps_name(name: str) -> None:
    with pytest.raises(Refused, match="cannot name an app"):
        app_of(replace(SSH, name=name))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    options = replace(SSH, repository="https://me:secret@host/acme/shop", branch="-x", domain="no domain", health="x y")
    with pytest.raises(Refused) as refused:
        app_of(options)
    text = str(refused.value)
    for key in ("repository", "branch", "site.domain", "health.url"):
        assert key in text
    assert "secret" not in text


def test_the_file_that_is_written_is_the_table() -> None:
    import tomllib

    table = app_table(replace(SSH, domain="shop.example.org", data=("uploads",)), memory_mib=4096)
    text = app_toml("shop", table)
    assert tomllib.loads(text) == table
    assert text.startswith("# What hookd knows of shop.")


def test_a_table_that_a_person_wrote_is_completed_and_what_it_says_stays() -> None:
    service = {"units": "hookd", "handover": "blue-green"}
    written = {"repository": "git@git.example.org:acme/shop.git", "sender": "gogs", "service": service}
    made = complete_table("shop", written, memory_mib=4000)
    assert parse_app("shop", made).health.url == "unix:/run/hookd-apps/shop-{colour}.sock:/healthz"
    assert (made["full_name"], made["root"], made["sender"]) == ("acme/shop", "/srv/shop", "gogs")
    assert made["service"] == service
    assert "health" not in complete_table("shop", {**written, "service": {}}, memory_mib=4000)


def test_a_table_without_a_repository_is_left_to_the_catalogue() -> None:
    assert complete_table("shop", {"repository": 7}, memory_mib=4000) == {"repository": 7}
