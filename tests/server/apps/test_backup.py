"""Backups on a server: root's files, made by the app's user in its sandbox, and brought back by one printed command."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

DATABASE = "/var/lib/shop/uploads/app.db"
BACKUPS = "/var/lib/hookd-backups/shop"
MAKE = f"""
import sqlite3
app = sqlite3.connect("{DATABASE}")
app.execute("PRAGMA journal_mode = WAL")
app.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
app.executemany("INSERT INTO orders VALUES (?)", [(number,) for number in range(100)])
app.commit()
"""
COUNT = f"import sqlite3; print(sqlite3.connect('{DATABASE}').execute('SELECT count(*) FROM orders').fetchone()[0])"
# Half of a migration.
HALF = f"""
import sqlite3, sys
app = sqlite3.connect("{DATABASE}")
app.execute("DELETE FROM orders WHERE id > 9")
app.commit()
sys.exit("no such column")
"""
# What an app may try in its own backup: read what is there, read its own output, and leave a process behind.
CURIOUS = f"""
import os, subprocess, sys
print("dump of", os.environ["HOOKD_NAME"], "by", os.getuid(), flush=True)
for path in ("{BACKUPS}", "{BACKUPS}/.new", "/proc/self/fd/1"):
    try:
        os.listdir(path) if path == "{BACKUPS}" else open(path, "rb").read()
        sys.exit("could read " + path)
    except PermissionError:
        print("denied", path)
sys.stdout.flush()
subprocess.Popen(["sleep", "600"])
"""


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app of two colours, a database with a hundred orders, and SQLite backups."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        machine.run("python3", "-c", MAKE, user="www-data")
        set_release(shop, commands='[["true"]]', backup='"sqlite"')
        yield shop


def set_release(shop: Shop, **keys: str) -> str:
    """Change the table `release` of the app's file."""
    return shop.hookd("app", "edit", "shop", *(f"--set=release.{key}={value}" for key, value in keys.items()))


def orders(shop: Shop) -> int:
    return int(shop.machine.run("python3", "-c", COUNT, user="www-data").stdout)


def backups(shop: Shop) -> list[str]:
    """Return the names in the directory of the app's backups."""
    return sorted(path.name for path in shop.machine.path(BACKUPS).iterdir())


def printed_command(shop: Shop, record: dict[str, Any]) -> list[str]:
    """Return the next command that a deployment printed, without sudo."""
    found = re.search(r"next: sudo (hookd restore .*)", shop.hookd("logs", record["id"]))
    assert found, record
    return found[1].split()


@pytest.mark.promise(69)
def test_printed_command_brings_data_back(shop: Shop) -> None:
    """A migration fails halfway, and the site serves on. The command stops it, restores, and starts it again."""
    set_release(shop, commands='[["python", "half.py"]]')
    bad = shop.push("v2", {"half.py": HALF})
    assert (bad["status"], orders(shop)) == ("failed", 10), bad
    assert [step["name"] for step in bad["steps"]][-2:] == ["release_commands", "prune"]
    [name] = backups(shop)
    assert name == f"{bad['release']}.sqlite.tar"
    assert f"(backup {bad['release']})" in bad["cause"]
    command = printed_command(shop, bad)
    assert command == ["hookd", "restore", "shop", bad["release"]]
    printed = shop.machine.run(*command, "--yes", env={"SUDO_USER": "anna"}).stdout
    assert f"restored {DATABASE}" in printed and "shop runs again and is healthy" in printed
    assert (orders(shop), shop.page()) == (100, "v1")
    assert f"anna restored the backup {bad['release']}" in shop.hookd("why", "shop")
    assert backups(shop) == [name]
    owner = shop.machine.run("stat", "-c", "%U:%G %a", DATABASE).stdout.strip()
    assert owner == "www-data:www-data 644", owner


@pytest.mark.threat(92)
def test_app_reaches_no_backup(shop: Shop) -> None:
    """Neither its user nor its own backup can read one, and its variables reach no program of root."""
    # Programs with these variables write what they load to a file, or without rights to it to their output.
    variables = "HOOKD_NAME=the shop\nLD_DEBUG=libs\nLD_DEBUG_OUTPUT=/var/lib/shop/uploads/loaded\n"
    shop.machine.path("/etc/hookd/env/shop").write_text(variables)
    set_release(
        shop, commands='[["true"]]', backup='["python", "curious.py"]', restore='["sh", "-c", "cat > uploads/back"]'
    )
    good = shop.push("v3", {"curious.py": CURIOUS})
    assert good["status"] == "succeeded", shop.hookd("logs", good["id"])
    for argv in (("ls", BACKUPS), ("cat", f"{BACKUPS}/{good['release']}.backup"), ("rm", "-rf", BACKUPS)):
        for user in ("www-data", "manager"):
            assert shop.machine.run(*argv, user=user, check=False).returncode != 0
    assert list(shop.machine.path("/var/lib/shop/uploads").glob("loaded*"))
    assert "find library" not in shop.hookd("logs", good["id"])
    assert f"{good['release']}.backup" in backups(shop) and ".new" not in backups(shop)
    mode = shop.machine.run("stat", "-c", "%U:%G %a", BACKUPS, f"{BACKUPS}/{good['release']}.backup").stdout.split("\n")
    assert mode[:2] == ["root:root 700", "root:root 600"]
    assert shop.machine.unit_state("shop-dump.service") == "inactive"
    assert "sleep" not in shop.machine.run("ps", "-u", "www-data", "-o", "comm").stdout
    shop.machine.path("/etc/hookd/env/shop").write_text("HOOKD_NAME=the shop\n")


def test_command_reads_its_backup_back(shop: Shop) -> None:
    printed = shop.machine.run("hookd", "restore", "shop", "--yes").stdout
    assert "shop runs again and is healthy" in printed
    lines = shop.machine.read("/var/lib/shop/uploads/back").splitlines()
    user = shop.machine.run("id", "-u", "www-data").stdout.strip()
    assert lines[0] == f"dump of the shop by {user}"
    assert [line.split()[0] for line in lines[1:]] == ["denied"] * 3
    older = shop.machine.run("hookd", "restore", "shop", "--list").stdout.splitlines()[1].split()[0]
    other = shop.machine.run("hookd", "restore", "shop", older, "--yes", check=False)
    assert (other.returncode, "is not of the kind of this backup (sqlite)" in other.stderr) == (2, True), other


@pytest.mark.promise(70)
@pytest.mark.parametrize(
    ("command", "seconds", "cause"),
    [
        ("echo half; echo no such host >&2; exit 3", 600, "sh ended with status 3: no such host"),
        ("kill -9 $$", 600, "sh was killed by signal 9"),
        ("true", 600, "it cannot be kept: the backup is empty"),
        ("echo half; sleep 600", 5, "ran longer than 5 s and was stopped"),
        ("no-such-program", 600, "there is no program no-such-program"),
    ],
)
def test_failed_backup_stops_the_deployment(command: str, seconds: int, cause: str, shop: Shop) -> None:
    shop.machine.run("rm", "-f", "/var/lib/shop/uploads/ran")
    set_release(
        shop,
        commands='[["touch", "uploads/ran"]]',
        backup=f'["sh", "-c", "{command}"]',
        restore='["cat"]',
        seconds=str(seconds),
    )
    before = backups(shop)
    bad = shop.push(cause)
    assert bad["status"] == "failed"
    assert bad["cause"].startswith("the backup failed, and no release command ran: ") and cause in bad["cause"], bad
    assert backups(shop) == before
    assert not shop.machine.path("/var/lib/shop/uploads/ran").exists()
    assert shop.machine.unit_state("shop-dump.service") in ("inactive", "failed")
    assert bad["commit"] not in [other["commit"] for other in shop.status()["quarantined"]]


def test_full_disk_is_named(shop: Shop) -> None:
    set_release(
        shop, commands='[["true"]]', backup='["sh", "-c", "head -c 9000000 /dev/zero; true"]', restore='["cat"]'
    )
    shop.machine.shell(f"mount -t tmpfs -o size=4m,mode=0700 none {BACKUPS}")
    try:
        bad = shop.push("full")
        assert bad["status"] == "failed"
        assert f"no space is left in {BACKUPS}" in bad["cause"], bad
        assert f"next: df -h {BACKUPS}" in shop.hookd("logs", bad["id"])
        assert backups(shop) == []
    finally:
        shop.machine.shell(f"umount {BACKUPS}")


def test_restore_holds_the_lock(shop: Shop) -> None:
    """It refuses during a deployment. A failed one leaves the app stopped, and says so."""
    restore = '["sh", "-c", "echo no table; exit 4"]'
    set_release(shop, commands='[["true"]]', backup='["echo", "data"]', restore=restore)
    page = shop.page()
    set_release(shop, commands='[["sleep", "600"]]')
    running = shop.deliver(shop.commit("slow"))
    shop.machine.wait_until(
        lambda: shop.machine.unit_state("shop-release.service") == "activating", what="the commands"
    )
    refused = shop.machine.run("hookd", "restore", "shop", "--yes", check=False)
    shop.machine.run("systemctl", "stop", "shop-release.service")
    assert (refused.returncode, "a deployment of shop runs" in refused.stderr) == (2, True), refused
    assert shop.ending(running)["status"] == "failed"
    failed = shop.machine.run("hookd", "restore", "shop", "--yes", check=False)
    assert (failed.returncode, "no table" in failed.stdout, "stays stopped" in failed.stderr) == (1, True, True), failed
    assert shop.machine.unit_state("shop.socket") == "inactive"
    shop.hookd("start", "shop")
    shop.machine.wait_until(lambda: shop.page() == page, what="the shop")
    assert shop.machine.run("hookd", "restore", "shop", "--list", user="www-data", check=False).returncode == 2


def test_rollback_leaves_the_database(shop: Shop) -> None:
    printed = shop.hookd("rollback", "shop")
    assert "the database stays as it is\n  next: sudo hookd restore shop --list" in printed


def test_edit_removes_the_units_alone(shop: Shop) -> None:
    """No service changes, so nothing is deployed."""
    last = shop.status()["deployments"][0]["id"]
    editor = {"EDITOR": "sed -i -e '/^backup/d' -e '/^restore/d'"}
    printed = shop.machine.run("hookd", "app", "edit", "shop", env=editor).stdout
    assert "remove     /etc/systemd/system/shop-dump.service" in printed and "A deployment restarts" not in printed
    assert shop.status()["deployments"][0]["id"] == last
    names = {path.name for path in shop.machine.path("/etc/systemd/system").glob("shop*")}
    assert not names & {"shop-backup.service", "shop-dump.service", "shop-restore.service"}
    assert "shop-backup" not in shop.machine.read("/etc/sudoers.d/hookd-shop")
    assert backups(shop)


def test_removal_keeps_backups(shop: Shop) -> None:
    kept = backups(shop)
    assert kept
    printed = shop.hookd("app", "remove", "shop", "--yes")
    assert f"stays: {BACKUPS}" in printed
    assert backups(shop) == kept
    assert not list(shop.machine.path("/etc/systemd/system").glob("shop*"))
