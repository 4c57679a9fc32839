"""`hookd env` on a server: a value reaches the app or its builds, and no log, list or decision."""

import json
from collections.abc import Iterator

import pytest

from tests.support.server.commands import Done
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer
from tests.support.server.terminal import terminal
from tests.support.server.unchanged import refusals, unchanged

FILE = "/etc/hookd/env/shop"
TEXT = "# About it.\nT_FIRST=1\n\nT_LAST='two words'\n"
WSGI = """
import json, os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [json.dumps({name: value for name, value in os.environ.items() if name.startswith("T_")}).encode()]
"""
# Each phase prints all of its variables.
DUMP = "import os, sys; print(sys.argv[1], sorted(os.environ.items()))\n"
OF_SERVICE, OF_BUILD = "canary-service", "canary-of-build"
PHASES = ("build.commands", "release.commands")


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app that shows its variables, and whose phases print theirs."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        machine.write(FILE, TEXT, 0o640, "root:manager")
        keys = (f'{key}=[["python", "dump.py", "{key}"]]' for key in PHASES)
        shop.hookd("app", "edit", "shop", *(f"--set={key}" for key in keys))
        shop.push("shows", {"wsgi.py": WSGI, "dump.py": DUMP})
        yield shop


def set_variable(shop: Shop, name: str, value: str, *options: str) -> Done:
    return shop.machine.run("hookd", "env", "set", "shop", name, *options, input=value, env={"SUDO_USER": "anna"})


def seen(shop: Shop) -> dict[str, str]:
    """Return the variables that the running app sees."""
    found: dict[str, str] = json.loads(shop.page())
    return found


def test_restart_makes_value_count(shop: Shop) -> None:
    """Lines of other variables, owner and mode stay."""
    printed = set_variable(shop, "T_FIRST", 'pa$s "x" \\n\n').stdout
    assert printed.endswith("next: sudo hookd restart shop\n")
    assert seen(shop)["T_FIRST"] == "1"
    shop.hookd("restart", "shop")
    assert seen(shop) == {"T_FIRST": 'pa$s "x" \\n', "T_LAST": "two words"}
    assert shop.machine.read(FILE) == TEXT.replace("=1", r'="pa\$s \"x\" \\n"')
    assert shop.machine.run("stat", "-c", "%U:%G %a", FILE).stdout == "root:manager 640\n"
    assert "nothing was changed" in set_variable(shop, "T_FIRST", 'pa$s "x" \\n').stdout
    set_variable(shop, "T_NEW", "größe", "--restart")
    assert seen(shop)["T_NEW"] == "größe"
    assert shop.hookd("env", "get", "shop", "T_NEW") == "größe\n"
    shop.hookd("env", "unset", "shop", "T_NEW", "--restart")
    assert "T_NEW" not in seen(shop)


def test_file_gives_the_value(shop: Shop) -> None:
    shop.machine.write("/root/value", "of a file\r\n", 0o600)
    shop.hookd("env", "set", "shop", "T_FILE", "--from-file", "/root/value", "--restart")
    assert seen(shop)["T_FILE"] == "of a file"
    shop.hookd("env", "unset", "shop", "T_FILE")


@pytest.mark.threat(21)
def test_terminal_asks_and_restarts(shop: Shop) -> None:
    with terminal(shop.machine, "hookd", "env", "set", "shop", "T_TYPED") as window:
        window.wait_for("T_TYPED of shop: ")
        window.type("canary-typed\n")
        window.wait_for("Restart shop now? [y/N]")
        window.type("y\n")
        assert window.end() == 0, window.shown
    assert "canary-typed" not in window.shown
    assert seen(shop)["T_TYPED"] == "canary-typed"
    shop.hookd("env", "unset", "shop", "T_TYPED", "--restart")


@pytest.mark.threat(21)
def test_values_stay_in_their_phase(shop: Shop) -> None:
    """A build sees its own alone. All phases print their variables, and the log masks the values."""
    set_variable(shop, "T_SERVICE_TOKEN", OF_SERVICE)
    printed = set_variable(shop, "T_BUILD_TOKEN", OF_BUILD, "--build").stdout
    assert printed.endswith("next: sudo hookd deploy shop\n")
    record = shop.push("masked", {"wsgi.py": WSGI, "dump.py": DUMP})
    assert record["status"] == "succeeded", record
    log = shop.hookd("logs", record["id"])
    build, release = (next(line for line in log.splitlines() if f"{key} [" in line) for key in PHASES)
    assert "('T_BUILD_TOKEN', '***')" in build and "T_SERVICE_TOKEN" not in build
    assert "('T_SERVICE_TOKEN', '***')" in release and "T_BUILD_TOKEN" not in release
    assert seen(shop)["T_SERVICE_TOKEN"] == OF_SERVICE and "T_BUILD_TOKEN" not in seen(shop)
    said = (
        log,
        shop.hookd("why", "shop"),
        shop.hookd("env", "list", "shop"),
        shop.hookd("env", "list", "shop", "--build"),
    )
    for text in (*said, shop.machine.run("journalctl", "--no-pager").stdout, json.dumps(shop.status())):
        assert OF_SERVICE not in text and OF_BUILD not in text
    assert shop.hookd("env", "list", "shop", "--build") == "T_BUILD_TOKEN\n"
    assert shop.hookd("env", "list", "shop").split() == ["T_FIRST", "T_LAST", "T_SERVICE_TOKEN"]


def test_names_are_in_the_decisions(shop: Shop) -> None:
    set_variable(shop, "T_NAMED", "1", "--build")
    shop.machine.run("hookd", "env", "unset", "shop", "T_NAMED", "--build", env={"SUDO_USER": "anna"})
    said = shop.hookd("why", "shop", "-n", "2")
    assert "anna set T_NAMED of the builds" in said and "anna unset T_NAMED of the builds" in said


def test_wrong_input_changes_nothing(shop: Shop) -> None:
    machine = shop.machine
    values = {"lines": b"one\ntwo\n", "nul": b"a\0b", "bytes": b"\xff", "long": b"x" * 200_000, "good": b"x"}
    for name, content in values.items():
        machine.write(f"/root/{name}", content)
    wrong = [("T_A", name) for name in values if name != "good"]
    wrong += [(key, "good") for key in ("1A", "A-B", "PATH", "A=canary", "")]
    calls: list[tuple[str, ...]] = [("env", "set", "shop", key, "--from-file", f"/root/{name}") for key, name in wrong]
    calls += [("env", "set", "shop", "A", "--build", "--restart", "--from-file", "/root/good")]
    calls += [(*call, "shop", "T_NONE") for call in (("env", "get"), ("env", "unset"))]
    with unchanged(machine):
        said = refusals(machine, calls)
    assert all("next: " in text for text in said)
    assert not any("canary" in text for text in said[:-3])
    assert "PATH is set by hookd" in "".join(said)
    machine.write(FILE, f"{TEXT}export A=canary\n", 0o640, "root:manager")
    calls = [
        ("env", verb, "shop", *more) for verb, more in (("list", ()), ("get", ("T_FIRST",)), ("unset", ("T_FIRST",)))
    ]
    with unchanged(machine):
        said = refusals(machine, [*calls, ("env", "set", "shop", "A", "--from-file", "/root/good")])
    for text in said:
        assert f'{FILE} line 5: `export` is not understood, write A="..."\n    next: sudoedit {FILE}' in text
        assert "canary" not in text
    machine.write(FILE, TEXT, 0o640, "root:manager")


def test_only_root_may(shop: Shop) -> None:
    for user in ("www-data", "manager"):
        for call in (("list", "shop"), ("get", "shop", "T_FIRST"), ("set", "shop", "T_A"), ("unset", "shop", "T_A")):
            done = shop.machine.run("hookd", "env", *call, user=user, input="x", check=False)
            assert (done.returncode, done.stdout, "only root" in done.stderr) == (2, "", True), done


def test_changes_come_one_by_one(shop: Shop) -> None:
    """A second command fails at once, and a stopped app is not restarted."""
    lock = "exec 9>>/var/lib/hookd-setup/lock; flock 9; hookd env set shop T_A </root/good && exit 9; exit 0"
    shop.machine.shell(lock)
    assert "T_A" not in shop.machine.read(FILE)
    shop.hookd("stop", "shop")
    printed = set_variable(shop, "T_A", "1", "--restart").stdout
    assert printed.endswith("next: sudo hookd start shop\n")
    assert shop.machine.unit_state("shop.socket") == "inactive"
