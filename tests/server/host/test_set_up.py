"""Setup and app commands on a real server: repeated, with --dry-run, and by other users."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import CHECKOUT, RECEIVER_DOMAIN, Shop, installed_layer, shop_layer
from tests.support.server.unchanged import refusals, unchanged

REPOSITORY: Final = "git@git.example.org:acme/blog.git"


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server with one app."""
    with servers.start(shop_layer(servers)) as machine:
        machine.wait_until(lambda: Shop(machine).page() == "v1", what="the shop")
        yield machine


# --- repetition and --dry-run


@pytest.mark.promise(34)
def test_repeated_setup_changes_nothing(server: Machine) -> None:
    with unchanged(server):
        for command in (f"setup --domain {RECEIVER_DOMAIN}", "setup", "app show shop", "secret show shop"):
            server.run("hookd", *command.split())


@pytest.mark.promise(34)
def test_repeated_install_changes_nothing(server: Machine) -> None:
    added = ("--domain", "shop.example.org", "--handover", "blue-green", "--data", "uploads", "--file", ".env")
    with unchanged(server):
        server.shell("./run install", directory=CHECKOUT)
    # Without a git host no first deployment follows.
    Shop(server).host.stop()
    with unchanged(server):
        server.run("hookd", "app", "add", "shop", "--repo", Shop(server).repository.url, *added)
    Shop(server).host.start()


DRY: Final = (
    "setup --domain new.example.org",
    f"app add blog --repo {REPOSITORY} --domain blog.example.org --data uploads --file .env",
    "app edit shop --set health.deadline=77 --set site.domain=new.example.org",
    "app edit shop --set service.handover=restart --set health.url=unix:/run/hookd-apps/shop.sock:/healthz",
    "app remove shop",
    "uninstall",
)


CHANGES: Final = tuple(f"{one} --yes" if one in ("app remove shop", "uninstall") else one for one in DRY)


@pytest.mark.promise(34)
def test_dry_run_changes_nothing(server: Machine) -> None:
    with unchanged(server):
        printed = {command: server.run("hookd", *command.split(), "--dry-run").stdout for command in DRY}
    assert [command for command in DRY if not re.search(r"^[+-] ", printed[command], re.MULTILINE)] == []


def announced(printed: str) -> list[str]:
    """Return the lines with changes."""
    return [line for line in printed.splitlines() if line.startswith(("+ ", "- "))]


@pytest.mark.promise(34)
def test_dry_run_shows_the_real_changes(server: Machine) -> None:
    blog = Shop(server, "blog")
    blog.commit("v1")
    blog.allow_reading()
    for command in (
        f"app add blog --repo {blog.repository.url} --domain blog.example.org --data uploads --file .env --no-deploy",
        "app edit blog --set health.deadline=77 --set site.domain=new.example.org",
        'app edit blog --set shared.directories=["uploads","logs"]',
        'app edit blog --set shared.directories=["uploads"]',
        "app edit blog --set health.deadline=77",
        "app remove blog --yes",
        "setup",
    ):
        shown = announced(server.run("hookd", *command.split(), "--dry-run").stdout)
        assert shown == announced(server.run("hookd", *command.split()).stdout), command


def test_dry_run_on_a_fresh_host(servers: Servers) -> None:
    command = ("hookd", "setup", "--domain", RECEIVER_DOMAIN)
    with servers.start(installed_layer(servers)) as fresh:
        with unchanged(fresh):
            first = announced(fresh.run(*command, "--dry-run").stdout)
        assert set(first) == set(announced(fresh.run(*command).stdout))
        again = announced(fresh.run(*command, "--dry-run").stdout)
        assert len(again) == 1 and "systemctl enable --now" in again[0], again
        assert again == announced(fresh.run(*command).stdout)


@pytest.mark.threat(70)
def test_only_one_command_changes_the_host(server: Machine) -> None:
    holder = ("systemd-run", "--quiet", "--unit=holder", "--property=Type=exec")
    server.run(*holder, "flock", "/var/lib/hookd-setup/lock", "sleep", "600")
    try:
        server.wait_until(lambda: is_locked(server), what="the lock")
        with unchanged(server):
            messages = refusals(server, [command.split() for command in (*CHANGES, "secret rotate shop")])
            assert [one for one in messages if "another hookd command is changing this host" not in one] == []
            server.run("hookd", "setup", "--dry-run")
        server.run("hookd", "restart", "shop")
    finally:
        server.run("systemctl", "stop", "holder.service")


def is_locked(machine: Machine) -> bool:
    """Return True if a process holds hookd's lock."""
    return machine.run("flock", "--nonblock", "/var/lib/hookd-setup/lock", "true", check=False).returncode == 1


def test_dry_run_of_install_changes_nothing(server: Machine) -> None:
    server.write(f"{CHECKOUT}/hookd/newer.py", '"""Makes another version of it."""\n')
    with unchanged(server):
        printed = server.shell("./run install --dry-run", directory=CHECKOUT)
    assert "+ build" in printed
    server.path(f"{CHECKOUT}/hookd/newer.py").unlink()


# --- not root


ROOTS: Final = (
    *("setup", "setup --dry-run", "uninstall --yes", "app list", "app show shop", "app edit shop --set branch=x"),
    *("app remove shop --yes", "secret show shop", "secret rotate shop", "start shop", "stop shop", "restart shop"),
    *(f"app add blog --repo {REPOSITORY}", "app adopt /opt/shop", "uninstall --dry-run"),
)


def test_commands_need_root(server: Machine) -> None:
    messages = refusals(server, [command.split() for command in ROOTS], user="manager")
    assert messages == [f"hookd: only root can do this\n  next: sudo hookd {command}\n" for command in ROOTS]


def test_install_needs_root(server: Machine) -> None:
    server.run("cp", "-r", CHECKOUT, "/srv/checkout")
    done = server.run("./run", "install", user="www-data", directory="/srv/checkout", check=False)
    assert (done.returncode, done.stderr) == (2, "hookd: only root can install\n  next: sudo ./run install\n")
