"""Two people use one server: a command that waits for input undoes nothing of another command."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.server.commands import Done
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

# Waits for a file before it changes one value.
EDITOR = """\
#!/bin/sh
touch /run/editor-is-open
while [ ! -e /run/editor-may-end ]; do sleep 0.05; done
rm /run/editor-is-open /run/editor-may-end
sed -i -e '/^workers = /d' -e 's/^handover = .*/&\\nworkers = 3/' "$1"
"""


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server with one app."""
    with servers.start(shop_layer(servers)) as machine:
        machine.wait_until(lambda: Shop(machine).page() == "v1", what="the shop")
        machine.write("/root/editor", EDITOR, 0o755)
        yield machine


@contextmanager
def edited_meanwhile(machine: Machine) -> Iterator["Future[Done]"]:
    """Hold `hookd app edit shop` open in an editor for as long as the block."""
    with ThreadPoolExecutor() as pool:
        command = ("hookd", "app", "edit", "shop")
        done = pool.submit(machine.run, *command, env={"EDITOR": "/root/editor"}, check=False)
        try:
            machine.wait_until(lambda: machine.path("/run/editor-is-open").exists(), what="the editor")
            yield done
        finally:
            machine.write("/run/editor-may-end", "")


def resources(machine: Machine, app: str) -> set[str]:
    """Return the resources of an app in the manifest."""
    entries = json.loads(machine.read("/var/lib/hookd-setup/manifest.json"))["resources"]
    return {entry["name"] for entry in entries if entry["scope"] == f"app:{app}"}


def test_app_added_during_an_edit_stays(server: Machine) -> None:
    blog = Shop(server, "blog")
    with edited_meanwhile(server) as edit:
        blog.add("--data", "logs")
        before = resources(server, "blog")
        assert "/etc/sudoers.d/hookd-blog" in before
    assert edit.result().returncode == 0, edit.result()
    assert "workers = 3" in server.read("/etc/hookd/apps/shop.toml")
    assert resources(server, "blog") == before
    assert "/srv/blog" in server.read("/etc/systemd/system/hookd-worker@.service.d/apps.conf")
    assert blog.push("v2")["status"] == "succeeded"


@pytest.mark.threat(70)
def test_change_during_an_edit_stays(server: Machine) -> None:
    with edited_meanwhile(server) as edit:
        server.run("hookd", "app", "edit", "shop", "--set", "health.deadline=44", "--set", "service.workers=2")
        changed = server.read("/etc/hookd/apps/shop.toml")
    assert edit.result().returncode == 2
    assert "another command changed shop meanwhile" in edit.result().stderr
    assert "workers = 3" in edit.result().stdout, "the edited text is lost"
    assert server.read("/etc/hookd/apps/shop.toml") == changed


def test_app_removed_during_edit_stays_removed(server: Machine) -> None:
    with ThreadPoolExecutor() as pool:
        command = ("hookd", "app", "edit", "blog")
        edit = pool.submit(server.run, *command, env={"EDITOR": "/root/editor"}, check=False)
        server.wait_until(lambda: server.path("/run/editor-is-open").exists(), what="the editor")
        server.run("hookd", "app", "remove", "blog", "--yes")
        server.write("/run/editor-may-end", "")
    assert edit.result().returncode == 2
    assert "there is no app 'blog'" in edit.result().stderr
    assert [one for one in resources(server, "blog") if not one.startswith(("/srv/blog", "/var/lib/blog"))] == []
    assert not server.path("/etc/sudoers.d/hookd-blog").exists()
