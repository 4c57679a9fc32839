"""`hookd setup` on a real server finds certbot's certificates and configures TLS."""

import tomllib
from collections.abc import Iterator

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.unchanged import unchanged
from tests.support.server.web import ask, push

LIVE = "/etc/letsencrypt/live"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app and without TLS on port 443."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        with pytest.raises(ConnectionRefusedError):
            ask(machine, RECEIVER_DOMAIN, port=443)
        yield shop


def certify(shop: Shop, domain: str) -> None:
    """Write a certificate to certbot's place."""
    shop.machine.run("mkdir", "-p", f"{LIVE}/{domain}")
    files = ("-keyout", f"{LIVE}/{domain}/privkey.pem", "-out", f"{LIVE}/{domain}/fullchain.pem")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    shop.machine.run("openssl", "req", *kind, "-subj", f"/CN={domain}", *files)


def test_setup_uses_new_certificates(shop: Shop) -> None:
    for domain in (RECEIVER_DOMAIN, shop.domain):
        certify(shop, domain)
    printed = shop.hookd("setup")
    assert " made" in printed
    settings = tomllib.loads(shop.machine.read("/etc/hookd/hookd.toml"))
    assert settings["receiver"]["public_url"] == f"https://{RECEIVER_DOMAIN}"
    assert ask(shop.machine, RECEIVER_DOMAIN, "/healthz", port=443).status == 200
    assert ask(shop.machine, shop.domain, port=443).text == "v1"
    with unchanged(shop.machine):
        assert "nothing to change" in shop.hookd("setup")


@pytest.mark.parametrize("path", ["/healthz", "/hooks/shop"])
def test_http_redirects_except_for_certbot(shop: Shop, path: str) -> None:
    for domain in (RECEIVER_DOMAIN, shop.domain):
        answer = ask(shop.machine, domain, path)
        assert (answer.status, answer.headers["Location"]) == (301, f"https://{domain}{path}")
        shop.machine.write("/var/www/hookd-acme/.well-known/acme-challenge/proof", "proof")
        assert ask(shop.machine, domain, "/.well-known/acme-challenge/proof").text == "proof"


def test_push_goes_through_tls(shop: Shop) -> None:
    commit = shop.commit("v2")
    answer = push(shop.machine, RECEIVER_DOMAIN, "shop", shop.secret, sender="gitea", port=443, after=commit)
    assert answer.status == 202
    assert answer.json["status_url"].startswith(f"https://{RECEIVER_DOMAIN}/deployments/")
    shop.machine.wait_until(lambda: ask(shop.machine, shop.domain, port=443).text == "v2", what="the push")
    assert f"webhook URL   https://{RECEIVER_DOMAIN}/hooks/shop" in shop.hookd("app", "show", "shop")
