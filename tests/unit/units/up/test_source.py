"""The repository of `hookd up`: its URL, its app's name, its first table."""

from pathlib import Path

import pytest

from tests.support.repository import Repository
from units.apps.table.options import parse_app
from units.system.errors import HostError
from units.up.home import Home
from units.up.source import app_name, first_table, repository_url


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/My_Shop.git", "my-shop"),
        ("git@github.com:acme/shop", "shop"),
        ("file:///home/me/code/shop", "shop"),
        ("ssh://git@host:2222/acme/shop.io.git/", "shop-io"),
        (f"https://host/acme/{'x' * 40}", "x" * 32),
    ],
)
def test_name_follows_from_the_url(url: str, name: str) -> None:
    assert app_name(url) == name


@pytest.mark.parametrize("url", ["https://host/", "https://host/acme/123.git", "file:///", "https://host/acme/--.git"])
def test_some_urls_have_no_name(url: str) -> None:
    with pytest.raises(HostError):
        app_name(url)


def test_directories_become_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    monkeypatch.chdir(repository.work)
    assert repository_url(None) == f"file://{repository.work}"
    assert repository_url(str(repository.bare)) == f"file://{repository.bare}"
    assert repository_url("git@host:acme/shop.git") == "git@host:acme/shop.git"
    with pytest.raises(HostError):
        repository_url("/")


@pytest.mark.parametrize("url", ["file:///home/me/shop", "https://github.com/acme/shop.git"])
def test_first_table_is_an_app(url: str) -> None:
    app = parse_app("shop", first_table(Home(Path("/home/me/.hookd/shop"), "shop"), url, "trunk", 8000, "/up"))
    assert (app.service.manager, app.service.listen, app.branch) == ("circus", "127.0.0.1:8000", "trunk")
    assert app.health.url_of("blue") == "unix:/home/me/.hookd/shop/shop-blue.sock:/up"
