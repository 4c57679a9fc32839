"""A unit from before hookd: deployment, stop with its socket, reboot, and removal of hookd."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.server.by_hand import DOMAIN, ROOT, SITE, UNIT, ByHand, adopted_layer, by_hand_layer
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, set_up_layer
from tests.support.server.unchanged import refusals, unchanged
from tests.support.server.visitors import visitors
from tests.support.server.web import ask
from tests.support.server.well import problems

SYSTEMD = "/etc/systemd/system"
PORT = 8001
# Serves a directory at the address that hookd is to hold.
OLD = f"""\
[Unit]
Description=The journal

[Service]
User=www-data
WorkingDirectory=/opt/journal
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 {PORT}

[Install]
WantedBy=multi-user.target
"""
SOCKET = "[Socket]\nListenStream=/run/shop.sock\nSocketUser=www-data\n[Install]\nWantedBy=sockets.target\n"
TABLE = f"""\
repository = "%s"
full_name = "acme/journal"
sender = "gitea"
root = "/srv/journal"
deploy_key = "/var/lib/hookd/keys/journal"

[service]
units = "existing"
listen = "127.0.0.1:{PORT}"

[health]
url = "http://127.0.0.1:{PORT}/"
"""


class Journal(Shop):
    """An app with its own unit, without nginx in front."""

    def page(self, path: str = "/") -> str:
        """Return the page, or nothing without a listener."""
        try:
            return ask(self.machine, "localhost", path, port=PORT).text
        except ConnectionRefusedError:
            return ""

    def states(self) -> tuple[str, str]:
        """Return the states of socket and service."""
        return self.machine.unit_state("journal.socket"), self.machine.unit_state("journal.service")


@pytest.fixture(scope="module")
def journal(servers: Servers) -> Iterator[Journal]:
    """A server with a unit that is older than hookd."""
    with servers.start(set_up_layer(servers)) as machine:
        journal = Journal(machine, "journal")
        machine.write("/opt/journal/index.html", "by hand")
        machine.write(f"{SYSTEMD}/journal.service", OLD)
        machine.run("systemctl", "enable", "--now", "journal.service")
        machine.wait_until(lambda: journal.page() == "by hand", what="the old unit")
        journal.commit("v1")
        machine.write("/root/journal.toml", TABLE % journal.repository.url)
        yield journal


def add(journal: Journal) -> None:
    """Let hookd deploy the old unit."""
    journal.paste_key(journal.hookd("app", "add", "journal", "--from", "/root/journal.toml"))
    assert journal.page() == "by hand", "nothing changes for visitors before the first deployment"
    journal.hookd("deploy", "journal")


@contextmanager
def run_by(journal: Journal, user: str) -> Iterator[None]:
    """Give the unit another user, in a drop-in that only systemd merges. Without a name it is root."""
    drop_in = "/run/systemd/system/journal.service.d"
    journal.machine.write(f"{drop_in}/user.conf", f"[Service]\nUser={user}\n")
    journal.machine.run("systemctl", "daemon-reload")
    yield
    journal.machine.run("rm", "-r", drop_in)
    journal.machine.run("systemctl", "daemon-reload")


@pytest.mark.threat(69)
def test_unit_of_root_is_not_added(journal: Journal) -> None:
    with run_by(journal, ""), unchanged(journal.machine):
        (said,) = refusals(journal.machine, [("app", "add", "journal", "--from", "/root/journal.toml")])
    assert "journal.service runs as root, and so would each push: set User=www-data\n    next: sudo systemctl" in said


def test_old_unit_is_deployed_and_stopped(journal: Journal) -> None:
    add(journal)
    assert journal.page() == "v1"
    assert journal.push("v2")["status"] == "succeeded"
    assert journal.page() == "v2"
    journal.hookd("stop", "journal")
    assert [journal.page() for _ in range(3)] == [""] * 3
    assert journal.states() == ("inactive", "inactive")
    journal.hookd("start", "journal")
    journal.machine.wait_until(lambda: journal.page() == "v2", what="the app after its start")
    assert journal.states() == ("active", "active")
    assert journal.push("v3")["status"] == "succeeded"
    journal.machine.reboot()
    assert journal.machine.unit_state("journal.socket") == "active"
    journal.machine.wait_until(lambda: journal.page() == "v3", what="the app after a reboot")


@pytest.mark.threat(69)
def test_unit_that_root_got_is_refused(journal: Journal) -> None:
    edit = ("app", "edit", "journal", "--set", "health.deadline=9")
    with run_by(journal, ""):
        assert all("journal.service runs as root" in said for said in refusals(journal.machine, [edit, ("setup",)]))
        found = [one for one in problems(journal.machine) if one["check"] == "separation"]
    assert [(one["level"], one["app"]) for one in found] == [("error", "journal")]
    assert "journal.service runs as root" in found[0]["message"]
    assert [one for one in problems(journal.machine) if one["check"] == "separation"] == []


@pytest.mark.threat(69)
def test_unit_moves_to_its_own_user(journal: Journal) -> None:
    """Follow the hint of the doctor for an app that shares www-data."""
    page = journal.page()
    with run_by(journal, "journal"):
        journal.hookd("app", "edit", "journal", "--set", "ownership.user=journal")
        journal.machine.wait_until(lambda: journal.page() == page, what="the app as its new user")
        assert "journal" in journal.machine.run("ps", "-o", "comm=,user=", "-u", "journal").stdout
        assert journal.push("as itself")["status"] == "succeeded"
    journal.hookd("app", "edit", "journal", "--set", "ownership.user=www-data")
    journal.machine.wait_until(lambda: journal.page() == "as itself", what="the app as its old user")
    assert "\njournal:" not in journal.machine.read("/etc/passwd")


@pytest.mark.parametrize("command", ["app remove journal --yes", "uninstall --yes"])
def test_removal_restores_the_old_unit(journal: Journal, command: str) -> None:
    if journal.page() == "by hand":
        journal.machine.run("rm", "-r", "/srv/journal")
        add(journal)
    journal.hookd(*command.split())
    assert [journal.page() for _ in range(3)] == [""] * 3
    left = [path for path in journal.machine.files() if path.startswith(SYSTEMD) and "journal" in path]
    assert sorted(left) == [f"{SYSTEMD}/journal.service", f"{SYSTEMD}/multi-user.target.wants/journal.service"]
    assert journal.machine.read(f"{SYSTEMD}/journal.service") == OLD
    journal.machine.run("systemctl", "start", "journal.service")
    journal.machine.wait_until(lambda: journal.page() == "by hand", what="the old unit")
    assert journal.machine.path("/srv/journal/current").is_symlink(), "releases stay"


# --- taken over


def check_stop_and_start(shop: ByHand) -> None:
    """Stop app and socket, which visitors cannot start again, and start both."""
    shop.hookd("stop", "shop")
    assert {shop.page() for _ in range(5)} == {"502"}
    assert [shop.machine.unit_state(f"shop.{kind}") for kind in ("socket", "service")] == ["inactive"] * 2
    shop.hookd("start", "shop")
    shop.machine.wait_until(lambda: shop.page() == "v1", what="the app after its start")
    assert shop.machine.unit_state("shop.socket") == "active"


def check_edit(shop: ByHand) -> None:
    """Change a value of the app's file, which updates the drop-in and keeps the unit in the release."""
    shop.hookd("app", "edit", "shop", "--set", "service.workers=3")
    shop.hookd("restart", "shop")
    shop.machine.wait_until(lambda: shop.page() == "v1", what="the app after a restart")
    assert "--workers 3 " in shop.machine.run("ps", "ax", "-o", "args").stdout
    assert f"{ROOT}/releases/" in shop.page("/where")
    assert shop.machine.run("hookd", "setup").stdout.splitlines()[-2].startswith("nothing to change")


@pytest.mark.promise(51)
def test_adopted_app_stops_with_its_socket(servers: Servers) -> None:
    with servers.start(adopted_layer(servers)) as machine:
        shop = ByHand(machine)
        check_stop_and_start(shop)
        check_edit(shop)
        shop.hookd("app", "remove", "shop", "--yes")
        assert shop.page("/where") == ROOT
        assert shop.units() == {"shop.service"}


@pytest.fixture
def behind_socket(servers: Servers) -> Iterator[ByHand]:
    """A server with a project that is deployed by hand and has a socket of systemd."""
    with servers.start(by_hand_layer(servers)) as machine:
        shop = ByHand(machine)
        machine.run("systemctl", "stop", "shop.service")
        machine.write(f"{SYSTEMD}/shop.socket", SOCKET)
        machine.shell("systemctl daemon-reload && systemctl enable --now shop.socket")
        unit = UNIT.replace("After=network.target", "Requires=shop.socket").replace("--bind 127.0.0.1:8000 ", "")
        shop.serve(unit, SITE.replace("127.0.0.1:8000", "unix:/run/shop.sock"))
        yield shop


def test_adopted_app_keeps_its_own_socket(behind_socket: ByHand) -> None:
    shop = behind_socket
    shop.prepare()
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        shop.complete()
    assert not crowd.failures, crowd.failures[:5]
    check_stop_and_start(shop)
    check_edit(shop)
    with visitors(shop.machine, DOMAIN, per_second=50) as crowd:
        assert shop.push("v2")["status"] == "succeeded"
    assert not crowd.failures, crowd.failures[:5]
    assert shop.page() == "v2"
    assert shop.machine.read(f"{SYSTEMD}/shop.socket") == SOCKET
    shop.hookd("app", "remove", "shop", "--yes")
    assert shop.page("/where") == ROOT
    assert shop.machine.read(f"{SYSTEMD}/shop.socket") == SOCKET
    assert shop.units() == {"shop.service", "shop.socket"}
