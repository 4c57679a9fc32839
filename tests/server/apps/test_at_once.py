"""Two people at one server: while the one thinks, the other's command is carried out, and nothing of it is undone."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.server.by_hand import ROOT, ByHand, by_hand_layer
from tests.support.server.commands import Done
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

# Says that it is open, and stays so until it is told to go on; then it changes one value.
EDITOR = """\
#!/bin/sh
touch /run/editor-is-open
while [ ! -e /run/editor-may-end ]; do sleep 0.05; done
rm /run/editor-is-open /run/editor-may-end
sed -i 's/^workers = .*/workers = 3/' "$1"
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


def brought(machine: Machine, app: str) -> set[str]:
    """What hookd remembers to have brought for an app."""
    things = json.loads(machine.read("/var/lib/hookd-setup/manifest.json"))["resources"]
    return {thing["name"] for thing in things if thing["scope"] == f"app:{app}"}


def test_an_app_that_comes_while_another_is_in_an_editor_stays_known(server: Machine) -> None:
    blog = Shop(server, "blog")
    with edited_meanwhile(server) as edit:
        blog.add("--data", "logs")
        before = brought(server, "blog")
        assert "/etc/sudoers.d/hookd-blog" in before
    assert edit.result().returncode == 0, edit.result()
    assert "workers = 3" in server.read("/etc/hookd/apps/shop.toml")
    assert brought(server, "blog") == before
    assert "/srv/blog" in server.read("/etc/systemd/system/hookd-worker@.service.d/apps.conf")
    assert blog.push("v2")["status"] == "succeeded"


@pytest.mark.threat(70)
def test_what_another_command_changed_meanwhile_is_not_undone(server: Machine) -> None:
    with edited_meanwhile(server) as edit:
        server.run("hookd", "app", "edit", "shop", "--set", "health.deadline=44", "--set", "service.workers=2")
        changed = server.read("/etc/hookd/apps/shop.toml")
    assert edit.result().returncode == 2
    assert "another command changed shop meanwhile" in edit.result().stderr
    assert "workers = 3" in edit.result().stdout, "what was written is not lost"
    assert server.read("/etc/hookd/apps/shop.toml") == changed


def test_an_app_that_goes_while_it_is_in_an_editor_stays_away(server: Machine) -> None:
    Shop(server, "wiki").add()
    with ThreadPoolExecutor() as pool:
        command = ("hookd", "app", "edit", "wiki")
        edit = pool.submit(server.run, *command, env={"EDITOR": "/root/editor"}, check=False)
        server.wait_until(lambda: server.path("/run/editor-is-open").exists(), what="the editor")
        server.run("hookd", "app", "remove", "wiki", "--yes")
        server.write("/run/editor-may-end", "")
    assert edit.result().returncode == 2
    assert "there is no app 'wiki'" in edit.result().stderr
    assert brought(server, "wiki") <= {"/srv/wiki", "/srv/wiki/shared"}
    assert not server.path("/etc/sudoers.d/hookd-wiki").exists()


def test_a_project_that_changes_while_a_person_is_asked_is_not_taken_over_unseen(servers: Servers) -> None:
    with servers.start(by_hand_layer(servers)) as machine:
        shop = ByHand(machine)
        answer = f"until test -e {ROOT}/reports.csv; do sleep 0.1; done; echo y"
        asked = f"({answer}) | hookd app adopt {ROOT}"
        with ThreadPoolExecutor() as pool:
            done = pool.submit(machine.run, "sh", "-c", f"{asked} > /root/said 2>&1", check=False)
            machine.wait_until(
                lambda: machine.path("/root/said").exists() and "Adopt it?" in machine.read("/root/said")
            )
            machine.write(f"{ROOT}/reports.csv", "a line\n", owner="manager:www-data")
        assert done.result().returncode == 2
        assert "changed after the plan was shown" in machine.read("/root/said")
        assert shop.units() == {"shop.service"} and shop.page() == "v1"
        taken = machine.run("hookd", "app", "adopt", ROOT, input="y\n", check=False)
        assert (taken.returncode, "cannot be read yet" in taken.stdout) == (1, True), taken
