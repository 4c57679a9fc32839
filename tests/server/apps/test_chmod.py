"""After `chmod -R 640` on an app's environments a deployment or root repairs them."""

import stat
from collections.abc import Iterator

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server whose app has been deployed once."""
    with servers.start(shop_layer(servers, "restart")) as machine:
        yield Shop(machine)


def chmod(shop: Shop) -> None:
    shop.machine.run("chmod", "-R", "640", "/srv/shop/venvs")


def test_deployment_repairs_its_environment(shop: Shop) -> None:
    """Repair without root: only the set-group-ID bit is out of reach in the worker's sandbox."""
    chmod(shop)
    record = shop.push("after chmod")
    assert (record["status"], shop.page()) == ("succeeded", "after chmod")
    assert shop.hookd("permissions", "shop") == "shop: all paths match the policy group\n"


def test_root_repairs_the_environment(shop: Shop) -> None:
    page = shop.page()
    chmod(shop)
    (gunicorn,) = shop.machine.path("/srv/shop/venvs").glob("*/bin/gunicorn")
    assert stat.S_IMODE(gunicorn.stat().st_mode) == 0o640
    assert shop.machine.run("hookd", "permissions", "shop", check=False).returncode == 1
    shop.hookd("permissions", "shop", "--fix")
    assert stat.S_IMODE(gunicorn.stat().st_mode) == 0o750
    shop.hookd("restart", "shop")
    shop.machine.wait_until(lambda: shop.page() == page, what="the page after the restart")
