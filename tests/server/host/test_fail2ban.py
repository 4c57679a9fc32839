"""fail2ban on a real server: whoever keeps sending wrong signatures is shut out, by what is in the real journal."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.web import push

# Loopback addresses that fail2ban does not take for the server itself, which it never shuts out.
STRANGER, GIT_HOST = "127.0.0.9", "127.0.0.2"
MOST: Final = 20
# The machine's kernel keeps no packet filter for it: whom the filter would shut out, and of what, is written down.
NOTE: Final = "[Definition]\nactionban = echo <ip> <port> >> /run/shut-out\nactionunban =\n"
LOCAL: Final = "[hookd]\naction = note[port='%(port)s']\n"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server whose fail2ban runs, with the jail that `hookd setup` has brought."""
    with servers.start(shop_layer(servers)) as machine:
        machine.write("/etc/fail2ban/action.d/note.conf", NOTE)
        machine.write("/etc/fail2ban/jail.d/zz.local", LOCAL)
        machine.run("systemctl", "start", "fail2ban.service")
        found = Shop(machine)
        machine.wait_until(lambda: "hookd" in jails(found), what="the jail")
        yield found


def jails(shop: Shop) -> str:
    """The names of the jails."""
    return shop.machine.run("fail2ban-client", "status", check=False).stdout


def jail(shop: Shop) -> dict[str, str]:
    """What fail2ban says of hookd's jail."""
    told = shop.machine.run("fail2ban-client", "status", "hookd").stdout
    return dict(re.findall(r"- ([\w ]+):\t(.*)$", told, re.MULTILINE))


def send(shop: Shop, secret: str, source: str) -> int:
    """Push from an address; returns what came back."""
    return push(shop.machine, RECEIVER_DOMAIN, "shop", secret, sender="gitea", source=source).status


@pytest.mark.threat(55)
def test_who_sends_wrong_signatures_is_shut_out_and_nobody_else(shop: Shop) -> None:
    assert [send(shop, "f" * 64, STRANGER) for _ in range(MOST - 1)] == [401] * (MOST - 1)
    shop.machine.wait_until(lambda: jail(shop)["Total failed"] == str(MOST - 1), what="what fail2ban has read")
    assert jail(shop)["Banned IP list"] == ""
    assert send(shop, "f" * 64, STRANGER) == 401
    shop.machine.wait_until(lambda: jail(shop)["Banned IP list"] == STRANGER, what="the ban")
    shop.machine.wait_until(lambda: shop.machine.path("/run/shut-out").exists(), what="the action")
    assert shop.machine.read("/run/shut-out") == f"{STRANGER} http,https\n"
    assert send(shop, shop.secret, GIT_HOST) == 202


def test_many_good_pushes_are_nobody_s_attack(shop: Shop) -> None:
    before = jail(shop)["Total failed"]
    assert {send(shop, shop.secret, GIT_HOST) for _ in range(MOST + 5)} <= {200, 202}
    send(shop, "f" * 64, "127.0.0.10")
    shop.machine.wait_until(lambda: jail(shop)["Total failed"] == str(int(before) + 1), what="what fail2ban has read")
    assert jail(shop)["Banned IP list"] == STRANGER
