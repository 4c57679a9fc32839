"""A frozen app on a real server: root freezes, and receiver and worker read it in their sandboxes."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.web import push

FILE: Final = "/etc/hookd/frozen/shop"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app whose builds wait for a file."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        yield shop


def as_visitor(machine: Machine, *arguments: str) -> tuple[int, str]:
    """Type a command as a user without rights."""
    done = machine.run("runuser", "-u", "www-data", "--", "hookd", *arguments, check=False)
    return done.returncode, done.stderr


def test_freeze_shows_person_and_reason(shop: Shop) -> None:
    shop.machine.shell("umask 077; SUDO_USER=anna hookd freeze shop --reason 'the sale' --until 3d")
    assert shop.machine.run("stat", "-c", "%U:%G %a", FILE).stdout.strip() == "root:root 644"
    frozen = shop.status()["frozen"]
    assert (frozen["reason"], frozen["by"]) == ("the sale", "anna")
    for command in (("status",), ("status", "shop"), ("why", "shop"), ("app", "list")):
        assert "by anna until" in shop.hookd(*command), command
    findings = json.loads(shop.machine.run("hookd", "doctor", "shop", "--json", check=False).stdout)["findings"]
    assert [one["level"] for one in findings if one["check"] == "freeze"] == ["ok"]


def test_push_is_recorded_only(shop: Shop) -> None:
    commit = shop.commit("v2")
    answer = push(shop.machine, RECEIVER_DOMAIN, "shop", shop.secret, sender="gitea", after=commit)
    assert (answer.status, answer.json["status"]) == (200, "frozen")
    shop.reconcile()
    assert shop.page() == "v1"
    assert commit[:12] in shop.hookd("why", "shop")


@pytest.mark.parametrize("command", ["deploy", "update", "rollback", "unpin"])
def test_refusal_names_the_next_command(shop: Shop, command: str) -> None:
    done = shop.machine.run("hookd", command, "shop", check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "  next: hookd thaw shop")


@pytest.mark.threat(42)
@pytest.mark.parametrize("arguments", [("thaw", "shop"), ("freeze", "shop", "--reason", "mine")])
def test_only_root_freezes_and_thaws(shop: Shop, arguments: tuple[str, ...]) -> None:
    before = shop.machine.read(FILE)
    status, error = as_visitor(shop.machine, *arguments)
    assert (status, error.splitlines()[0]) == (2, "hookd: only root can do this")
    assert f"  next: sudo hookd {arguments[0]} shop" in error
    assert shop.machine.read(FILE) == before


@pytest.mark.promise(48)
def test_thaw_deploys_the_meantime(shop: Shop) -> None:
    shop.hookd("thaw", "shop")
    assert shop.page() == "v2"
    assert shop.status()["frozen"] is None


@pytest.mark.threat(42)
def test_freeze_stops_a_running_build(shop: Shop) -> None:
    wait = 'build.commands=[["sh", "-c", "until test -e /srv/shop/go; do sleep 0.1; done"]]'
    shop.hookd("app", "edit", "shop", "--set", wait)
    deployment = shop.deliver(shop.commit("v3"))
    shop.machine.wait_until(
        lambda: any(step["name"] == "build" for step in shop.record(deployment)["steps"]), what="the build"
    )
    shop.hookd("freeze", "shop", "--reason", "stop")
    shop.machine.run("touch", "/srv/shop/go")
    record = shop.ending(deployment)
    assert (record["status"], record["hint"]["kind"]) == ("unchanged", "thaw"), record
    assert shop.page() == "v2"


def test_removal_ends_the_freeze(shop: Shop) -> None:
    assert f"- remove     {FILE}" in shop.hookd("app", "remove", "shop", "--dry-run")
    shop.hookd("app", "remove", "shop", "--yes")
    assert not shop.machine.path(FILE).exists()
    assert shop.machine.path("/etc/hookd/frozen").is_dir()
