"""An app changes under load, and a secret while pushes come in: no request is lost."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Final

import pytest

from tests.support.server.interrupted import interrupted
from tests.support.server.machine import Machine
from tests.support.server.places import KERNEL_LINKS, locked
from tests.support.server.servers import Servers
from tests.support.server.shop import RECEIVER_DOMAIN, Shop, shop_layer
from tests.support.server.visitors import Visitors, visitors
from tests.support.server.web import ask, push

SOCKETS: Final = "/run/hookd-apps"
TO_RESTART: Final = ("service.handover=restart", f"health.url=unix:{SOCKETS}/shop.sock:/healthz")
TO_COLOURS: Final = ("service.handover=blue-green", f"health.url=unix:{SOCKETS}/shop-{{colour}}.sock:/healthz")
PHASES: Final = {"shop-build.service", "shop-check.service", "shop-in-use.service"}
COLOURS: Final = {
    "shop.socket", "shop.service", "shop-blue.service", "shop-green.service", "shop-blue-health.socket",
    "shop-green-health.socket", *PHASES,
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app of two colours."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        yield shop


@contextmanager
def no_request_fails(shop: Shop) -> Iterator[Visitors]:
    """Send fifty requests a second, which all succeed."""
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        yield crowd
    assert not crowd.failures, crowd.failures[:5]


def edit(shop: Shop, *changes: str) -> str:
    """Change the app as a person does."""
    return shop.hookd("app", "edit", "shop", *(word for change in changes for word in ("--set", change)))


def units(machine: Machine) -> set[str]:
    """Return the app's unit files."""
    return {path.name for path in machine.path("/etc/systemd/system").glob("shop*") if path.is_file()}


def test_values_change_under_load(shop: Shop) -> None:
    with no_request_fails(shop):
        edit(shop, "health.deadline=9", "service.workers=3", "site.max_body=20", "branch=main")
        edit(shop, 'shared.directories=["uploads", "downloads"]')
        shop.hookd("restart", "shop")
        assert shop.push("with downloads")["status"] == "succeeded"
    assert "client_max_body_size 20m;" in shop.machine.run("nginx", "-T", "-q").stdout
    assert "--workers 3" in shop.machine.run("ps", "ax", "-o", "args").stdout
    assert shop.machine.path("/srv/shop/current/downloads").is_symlink()


def test_new_domain_replaces_the_old(shop: Shop) -> None:
    edit(shop, "site.domain=store.example.org", "health.host=store.example.org")
    assert ask(shop.machine, "store.example.org").text == "with downloads"
    assert ask(shop.machine, shop.domain).text != "with downloads"
    edit(shop, f"site.domain={shop.domain}", f"health.host={shop.domain}")
    assert shop.page() == "with downloads"


@pytest.mark.parametrize("changes", [TO_RESTART, TO_COLOURS])
def test_failed_handover_change_is_undone(shop: Shop, changes: tuple[str, ...]) -> None:
    """Let the deployment after the change fail with a broken head."""
    assert shop.push("good")["status"] == "succeeded"
    before, files = shop.machine.read("/etc/hookd/apps/shop.toml"), units(shop.machine)
    shop.commit("broken", {"wsgi.py": "raise RuntimeError('broken')\n"})
    argv = ("app", "edit", "shop", *(word for change in changes for word in ("--set", change)))
    with no_request_fails(shop) as crowd:
        done = shop.machine.run("hookd", *argv, check=False)
        assert done.returncode in (1, 3), done
        assert "shop is as it was before" in done.stdout
        assert shop.machine.read("/etc/hookd/apps/shop.toml") == before
        assert units(shop.machine) == files
    assert crowd.pages == {"good"}
    with no_request_fails(shop):
        # The reconciler tries the head again under the old file, and may find this commit first.
        assert shop.push("repaired")["status"] == "succeeded"
        assert shop.page() == "repaired"
        shop.hookd(*argv)
        shop.machine.wait_until(lambda: shop.page() == "repaired", 20, "the page after the change")
        assert shop.push("after it")["status"] == "succeeded"
    assert [shop.page() for _ in range(20)] == ["after it"] * 20
    assert units(shop.machine) == ({"shop.socket", "shop.service", *PHASES} if changes == TO_RESTART else COLOURS)
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_killed_handover_change_continues(shop: Shop) -> None:
    """Kill the command after it wrote its files, and again during the deployment."""
    assert units(shop.machine) == COLOURS
    for changes, text in ((TO_RESTART, "one"), (TO_COLOURS, "two")):
        argv = ("app", "edit", "shop", *(word for change in changes for word in ("--set", change)))
        with no_request_fails(shop):
            interrupted(shop.machine, *argv, every=25)
            assert shop.push(text)["status"] == "succeeded"
        assert [shop.page() for _ in range(20)] == [text] * 20
    assert units(shop.machine) == COLOURS
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    shop.machine.reboot()
    assert shop.page() == "two"


# --- another user

_WRITES: Final = '''\
import os

def app(environ, start_response):
    """Append to the data, and answer with it."""
    with open("uploads/visits", "a+") as file:
        file.write("x")
        file.seek(0)
        text = f"{os.geteuid()} {file.read()}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
'''


@pytest.fixture
def _protected_links() -> Iterator[None]:
    """Set the kernel's protection of hard links, which all servers share."""
    setting = Path("/proc/sys/fs/protected_hardlinks")
    with locked(KERNEL_LINKS):
        before = setting.read_text()
        setting.write_text("1")
        yield
        setting.write_text(before)


def owners(machine: Machine) -> list[str]:
    """Return the owners of a data file, its directory, the served code and the app's directory."""
    code = "/srv/shop/current/wsgi.py"
    return machine.run("stat", "-L", "-c", "%U:%G", "/var/lib/shop/uploads/visits", code, "/srv/shop").stdout.split()


@pytest.mark.threat(69)
@pytest.mark.usefixtures("_protected_links")
def test_app_moves_to_another_user(shop: Shop) -> None:
    """Keep code and data usable, and remove a user that no app has any more."""
    machine = shop.machine
    assert shop.push("visits", {"wsgi.py": _WRITES})["status"] == "succeeded"
    for user in ("store", "stall", "www-data"):
        before = shop.page().split()[1]
        printed = edit(shop, f"ownership.user={user}")
        assert f"shop is {user}:{user} now" in printed
        machine.wait_until(lambda: shop.page() != "503", what="the app as its new user")
        uid, visits = shop.page().split()
        assert uid == machine.run("id", "-u", user).stdout.strip()
        assert visits.startswith(before)
        assert owners(machine) == [f"{user}:{user}", f"manager:{user}", f"manager:{user}"]
        assert shop.push(f"as {user}", {"wsgi.py": _WRITES})["status"] == "succeeded"
        assert shop.hookd("permissions", "shop").endswith("all paths match the policy group\n")
    assert not {"store", "stall"} & {line.split(":")[0] for line in machine.read("/etc/passwd").splitlines()}


@pytest.mark.usefixtures("_protected_links")
def test_killed_move_continues(shop: Shop) -> None:
    interrupted(shop.machine, "app", "edit", "shop", "--set", "ownership.user=store", every=12)
    shop.machine.wait_until(lambda: shop.page() != "503", what="the app as its new user")
    assert owners(shop.machine) == ["store:store", "manager:store", "manager:store"]
    assert shop.push("after the kills", {"wsgi.py": _WRITES})["status"] == "succeeded"


# --- a secret


def status(shop: Shop, secret: str) -> int:
    """Return the status of a push that is signed with a secret."""
    return push(shop.machine, RECEIVER_DOMAIN, "shop", secret, sender="gitea").status


@contextmanager
def pushes(shop: Shop, secret: str) -> Iterator[list[int]]:
    """Send a push every 0.2 s, as fast as nginx permits."""
    answers: list[int] = []
    end = Event()

    def send() -> None:
        while not end.wait(0.2):
            answers.append(status(shop, secret))

    thread = Thread(target=send)
    thread.start()
    try:
        yield answers
        time.sleep(0.5)
    finally:
        end.set()
        thread.join()


@pytest.mark.threat(10)
@pytest.mark.promise(52)
def test_rotation_loses_no_push(shop: Shop) -> None:
    old = shop.secret
    with pushes(shop, old) as answers:
        shop.hookd("secret", "rotate", "shop")
        new = shop.secret
        assert [status(shop, secret) for secret in (new, "f" * 64)] == [202, 401]
    assert new != old
    assert set(answers) == {202}
    assert "an old and a new secret" in shop.machine.run("hookd", "secret", "rotate", "shop", check=False).stderr
    with pushes(shop, new) as answers:
        shop.hookd("secret", "rotate", "shop", "--finish")
        assert [status(shop, secret) for secret in (old, "f" * 64)] == [401, 401]
    assert set(answers) == {202}
