"""Options of `hookd app add` become a valid app file."""

from dataclasses import replace
from typing import Any

import pytest

from hookd.model.app import App
from hookd.model.git_hosts import GitHost
from units.apps.changes import app_toml
from units.apps.table.options import (
    BLUE_GREEN_MIB,
    AddOptions,
    Remote,
    app_table,
    complete_table,
    parse_app,
    parse_remote,
)
from units.system.errors import Refused

SSH = AddOptions("shop", "git@git.example.org:acme/shop.git")


def app_of(options: AddOptions, memory_mib: int = 4096) -> App:
    """Return the app of these options."""
    return parse_app(options.name, app_table(options, memory_mib=memory_mib))


def test_repository_alone_makes_an_app() -> None:
    app = app_of(SSH)
    assert (app.full_name, app.branch, app.sender) == ("acme/shop", "main", "gitea")
    assert str(app.root) == "/srv/shop"
    assert str(app.deploy_key) == "/var/lib/hookd/keys/shop"
    assert app.service.units == "hookd"
    files = (app.service.environment_file, app.build.environment_file)
    assert [str(file) for file in files] == ["/etc/hookd/env/shop", "/etc/hookd/env/shop.build"]


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
        *((f"git@{host.domain}:acme/shop.git", host) for host in GitHost if host.domain),
        *((f"https://{host.domain}/acme/shop", host) for host in GitHost if host.domain),
        ("git@elsewhere.example:acme/shop.git", GitHost.GITEA),
    ],
)
def test_sender_follows_from_the_host(url: str, sender: GitHost) -> None:
    assert app_of(replace(SSH, repository=url)).sender == sender


def test_https_needs_no_deploy_key() -> None:
    assert app_of(replace(SSH, repository="https://host/acme/shop.git")).deploy_key is None


@pytest.mark.parametrize(("memory", "handover"), [(BLUE_GREEN_MIB, "blue-green"), (BLUE_GREEN_MIB - 1, "restart")])
def test_little_memory_means_restart(memory: int, handover: str) -> None:
    assert app_of(SSH, memory).service.handover == handover


def test_chosen_handover_beats_memory() -> None:
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
def test_health_url_of_each_handover(changes: dict[str, Any], url: str) -> None:
    assert app_of(replace(SSH, **changes)).health.url == url


def test_data_lies_outside_the_code() -> None:
    app = app_of(replace(SSH, files=(".env",), data=("uploads", "logs")))
    assert (app.shared.files, app.shared.directories) == ((".env",), ("uploads", "logs"))
    assert (str(app.shared_root), str(app.data_root)) == ("/srv/shop/shared", "/var/lib/shop")


def test_processes_are_shell_words() -> None:
    app = app_of(replace(SSH, processes=("worker=rq worker 'two words'", "beat=celery beat")))
    commands = {name: process.command for name, process in app.processes.items()}
    assert commands == {"worker": ("rq", "worker", "two words"), "beat": ("celery", "beat")}


@pytest.mark.parametrize("texts", [("worker",), ("worker=",), ("worker='rq",), ("worker=a", "worker=b"), ("Worker=a",)])
def test_wrong_process_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        app_of(replace(SSH, processes=texts))


def test_domain_makes_site_and_health_host() -> None:
    app = app_of(replace(SSH, domain="shop.example.org"))
    assert (app.site.domain, app.health.host) == ("shop.example.org", "shop.example.org")


@pytest.mark.parametrize("name", ["Shop", "1shop", "shop_2", "", "../etc", "a" * 33, "shop\n"])
def test_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="cannot name an app"):
        app_of(replace(SSH, name=name))


def test_all_problems_come_at_once() -> None:
    options = replace(SSH, repository="https://me:secret@host/acme/shop", branch="-x", domain="no domain", health="x y")
    with pytest.raises(Refused) as refused:
        app_of(options)
    text = str(refused.value)
    for key in ("repository", "branch", "site.domain", "health.url"):
        assert key in text
    assert "secret" not in text


def test_invalid_name_hides_no_problem() -> None:
    table = {**app_table(replace(SSH, branch="-x"), memory_mib=4096), "name": "store", "branches": "main"}
    with pytest.raises(Refused) as refused:
        parse_app("../shop", table)
    begins = ("'../shop' cannot name an app", "name: remove this key", "../shop: branch", "../shop: branches")
    assert len(refused.value.reasons) == len(begins)
    for begin in begins:
        assert [reason for reason in refused.value.reasons if reason.startswith(begin)]


def test_written_file_equals_the_table() -> None:
    import tomllib

    table = app_table(replace(SSH, domain="shop.example.org", data=("uploads",)), memory_mib=4096)
    text = app_toml("shop", table)
    assert tomllib.loads(text) == table
    assert text.startswith("# What hookd knows of shop.")


def test_own_table_is_completed_not_changed() -> None:
    service = {"units": "hookd", "handover": "blue-green"}
    written = {"repository": "git@git.example.org:acme/shop.git", "sender": "gogs", "service": service}
    made = complete_table("shop", written, memory_mib=4000)
    assert parse_app("shop", made).health.url == "unix:/run/hookd-apps/shop-{colour}.sock:/healthz"
    assert (made["full_name"], made["root"], made["sender"]) == ("acme/shop", "/srv/shop", "gogs")
    assert made["service"] == service
    assert "health" not in complete_table("shop", {**written, "service": {}}, memory_mib=4000)


def test_table_without_repository_stays() -> None:
    assert complete_table("shop", {"repository": 7}, memory_mib=4000) == {"repository": 7}
