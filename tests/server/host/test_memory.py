"""hookd's own memory on an idle server: few processes, and one worker that rests."""

from collections import Counter

from tests.support.server.memory import idle_memory, is_resting
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

# Measured: 100 to 107. Two workers that stay ready exceed it.
MOST_MB = 120


def test_idle_server_needs_little_memory(servers: Servers) -> None:
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        assert shop.push("v2")["status"] == "succeeded"
        found = idle_memory(machine)
        assert Counter(each.service for each in found) == {
            "hookd-redis.service": 1,
            "hookd-worker@1.service": 1,
            "hookd-worker@2.service": 1,
            "hookd.service": 1,
        }
        assert sum(map(is_resting, found)) == 1
        assert sum(each.megabytes for each in found) <= MOST_MB
        assert shop.push("v3")["status"] == "succeeded"
        assert "queue: all workers are connected" in machine.run("hookd", "doctor", check=False).stdout
