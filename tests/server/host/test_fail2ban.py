"""fail2ban on a real server bans clients with wrong signatures, as the real journal shows them."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.web import push

# Loopback addresses other than the server's own, which fail2ban never bans.
ATTACKER, GIT_HOST, EXEMPT = "127.0.0.9", "127.0.0.2", "127.0.0.11"
MAX_FAILURES: Final = 20
# The action writes a file, because the server has no packet filter.
NOTE: Final = "[Definition]\nactionban = echo <ip> <port> >> /run/banned\nactionunban =\n"
LOCAL: Final = f"[hookd]\nignoreip = {EXEMPT} 2001:db8::/32\naction = note[port='%(port)s']\n"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with fail2ban and the jail of `hookd setup`."""
    with servers.start(shop_layer(servers)) as machine:
        machine.write("/etc/fail2ban/action.d/note.conf", NOTE)
        machine.write("/etc/fail2ban/jail.d/zz.local", LOCAL)
        machine.run("systemctl", "start", "fail2ban.service")
        shop = Shop(machine)
        machine.wait_until(lambda: "hookd" in jails(shop), what="the jail")
        yield shop


def jails(shop: Shop) -> str:
    """Return the names of the jails."""
    return shop.machine.run("fail2ban-client", "status", check=False).stdout


def jail(shop: Shop) -> dict[str, str]:
    """Return fail2ban's values of hookd's jail."""
    status = shop.machine.run("fail2ban-client", "status", "hookd").stdout
    return dict(re.findall(r"- ([\w ]+):\t(.*)$", status, re.MULTILINE))


def send(shop: Shop, secret: str, source: str) -> int:
    """Push from an address and return the answer's status."""
    return push(shop.machine, RECEIVER_DOMAIN, "shop", secret, sender="gitea", source=source).status


@pytest.mark.threat(55)
def test_wrong_signatures_ban_the_client(shop: Shop) -> None:
    assert [send(shop, "f" * 64, ATTACKER) for _ in range(MAX_FAILURES - 1)] == [401] * (MAX_FAILURES - 1)
    shop.machine.wait_until(lambda: jail(shop)["Total failed"] == str(MAX_FAILURES - 1), what="the count of failures")
    assert jail(shop)["Banned IP list"] == ""
    assert send(shop, "f" * 64, ATTACKER) == 401
    shop.machine.wait_until(lambda: jail(shop)["Banned IP list"] == ATTACKER, what="the ban")
    shop.machine.wait_until(lambda: shop.machine.path("/run/banned").exists(), what="the action")
    assert shop.machine.read("/run/banned") == f"{ATTACKER} http,https\n"
    assert send(shop, shop.secret, GIT_HOST) == 202


def test_good_pushes_ban_nobody(shop: Shop) -> None:
    before = jail(shop)["Total failed"]
    assert {send(shop, shop.secret, GIT_HOST) for _ in range(MAX_FAILURES + 5)} <= {200, 202}
    send(shop, "f" * 64, "127.0.0.10")
    shop.machine.wait_until(lambda: jail(shop)["Total failed"] == str(int(before) + 1), what="the count of failures")
    assert jail(shop)["Banned IP list"] == ATTACKER


@pytest.mark.threat(55)
def test_exempt_addresses_are_not_banned(shop: Shop) -> None:
    """Keep a git host's address, whose public users can make it send wrong signatures."""
    before = jail(shop)["Total failed"]
    assert {send(shop, "f" * 64, EXEMPT) for _ in range(MAX_FAILURES + 5)} == {401}
    send(shop, "f" * 64, "127.0.0.12")
    shop.machine.wait_until(lambda: jail(shop)["Total failed"] == str(int(before) + 1), what="the count of failures")
    assert EXEMPT not in jail(shop)["Banned IP list"]
    assert send(shop, shop.secret, EXEMPT) == 202
