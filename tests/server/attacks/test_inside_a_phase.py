"""A hostile commit attacks from inside of its build, its check and its release command."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.server import attack
from tests.support.server.machine import Machine
from tests.support.server.neighbours import neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop

_SCRIPT: Final = Path(attack.__file__).read_text()
PHASES: Final = ("build", "check", "release")
_HALT: Final = """
import os, signal
main = os.getpid()
for _ in range(20):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.setsid()
        while True:
            for pid in range(main + 25, main + 60):
                try:
                    os.kill(pid, signal.SIGSTOP)
                except OSError:
                    pass
"""
_EVIL: Final = "import os, sys; print('spy runs as', os.geteuid(), file=sys.stderr)\n"


def command(phase: str) -> list[str]:
    return ["python", "attack.py", phase, "blog"]


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with two apps, whose data and variables nobody else may see."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        machine.shell("runuser -u $(stat -c %U /var/lib/blog/logs) -- touch /var/lib/blog/logs/app.log")
        machine.shell("echo secret > /var/lib/blog/logs/app.log; echo kept > /var/lib/shop/uploads/kept")
        machine.shell("echo SHOP_TOKEN_FILE=/etc/hostname >> /etc/hookd/env/shop")
        shop = Shop(machine)
        edit(shop, "build.commands", [command("build")])
        edit(shop, "service.preflight", command("check"))
        edit(shop, "release.commands", [command("release")])
        yield shop


def edit(shop: Shop, key: str, value: object) -> None:
    """Change a key of the app."""
    shop.hookd("app", "edit", "shop", "--set", f"{key}={json.dumps(value)}")


def pids(machine: Machine) -> str:
    """Return the processes of hookd and of the other app."""
    units = ("hookd.service", "hookd-worker@1.service", "hookd-redis.service", "blog.service")
    return machine.run("systemctl", "show", "--property=MainPID", "--value", *units).stdout


@pytest.fixture(scope="module")
def reports(shop: Shop) -> dict[str, dict[str, Any]]:
    """The report of each phase of one hostile deployment."""
    record = shop.push("hostile", {"attack.py": _SCRIPT, "targets": pids(shop.machine)})
    log = shop.hookd("logs", record["id"])
    assert record["status"] == "succeeded", log
    found = [json.loads(text) for text in re.findall(r'\{"phase".*\}', log)]
    return {report["phase"]: report for report in found}


@pytest.mark.threat(75, 87)
@pytest.mark.parametrize("phase", PHASES)
def test_no_attack_works(reports: dict[str, dict[str, Any]], phase: str) -> None:
    assert reports[phase]["tried"] > 35
    assert reports[phase]["worked"] == []


def test_no_daemon_is_left(shop: Shop, reports: dict[str, dict[str, Any]]) -> None:
    assert shop.machine.run("pgrep", "-f", "sleep 4321", check=False).stdout == ""


def test_build_sees_empty_data(shop: Shop) -> None:
    """A build may write where the app has its data, and nothing of it is left."""
    script = "import os; assert os.listdir('uploads') == []; open('uploads/made', 'w').close()"
    edit(shop, "build.commands", [["python", "-c", script]])
    record = shop.push("writes data")
    assert record["status"] == "succeeded", shop.hookd("logs", record["id"])
    assert not shop.machine.path("/var/lib/shop/uploads/made").exists()
    assert shop.machine.read("/var/lib/shop/uploads/kept") == "kept\n"


@pytest.mark.threat(88)
@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("os.chmod('wsgi.py', 0o4755)", "wsgi.py"),
        ("os.mkfifo('pipe')", "pipe"),
        ("socket.socket(socket.AF_UNIX).bind('door')", "door"),
        ("os.link(os.environ['HOME'] + '/../outside', 'inside')", "inside"),
        ("os.link('/usr/bin/env', 'inside')", "inside"),
        ("os.remove('venv'); os.symlink('/var/lib/hookd', 'venv')", "venv"),
    ],
    ids=["set-user-id", "pipe", "socket", "hard link to a cache", "hard link to the system", "link to hookd's state"],
)
def test_harmful_file_is_refused(shop: Shop, code: str, word: str) -> None:
    prepare = "open(os.environ['HOME'] + '/../outside', 'w').close()"
    script = f"import os, socket; {prepare}; {code}"
    edit(shop, "build.commands", [["python", "-c", script]])
    before = shop.page()
    record = shop.push(f"harm {word}")
    assert record["status"] == "failed"
    assert word in record["cause"]
    assert shop.page() == before
    assert owners(shop.machine, "/srv/shop/releases") == {"manager"}


def owners(machine: Machine, place: str) -> set[str]:
    """Return the owners of everything below a directory."""
    return set(machine.run("find", place, "-printf", "%u\n").stdout.split())


@pytest.mark.threat(88)
@pytest.mark.usefixtures("reports")
def test_build_variables_reach_no_root_program(shop: Shop) -> None:
    """Programs with these variables write what they load to a file of their user's."""
    cache = "/var/cache/hookd-build/shop"
    variables = f'{{LD_DEBUG = "libs", LD_DEBUG_OUTPUT = "{cache}/loaded"}}'
    shop.hookd("app", "edit", "shop", "--set", f"build.environment={variables}")
    edit(shop, "build.commands", [["true"], ["env"]])
    record = shop.push("loads")
    assert record["status"] == "succeeded", shop.hookd("logs", record["id"])
    found = shop.machine.run("find", cache, "/srv/shop", "/run", "-name", "loaded*", "-printf", "%u\n").stdout
    assert set(found.split()) == {"hookd-build-shop"}
    shop.hookd("app", "edit", "shop", "--set", "build.environment={}")


@pytest.mark.threat(87, 88)
@pytest.mark.usefixtures("reports")
def test_daemons_outlive_no_build(shop: Shop) -> None:
    """Daemons without end halt each other process of their user, and are gone when the files change hands."""
    edit(shop, "build.commands", [["python", "-c", _HALT]])
    record = shop.push("halts")
    assert record["status"] == "succeeded", shop.hookd("logs", record["id"])
    assert owners(shop.machine, "/srv/shop/releases") == {"manager"}
    assert shop.machine.run("ps", "-u", "hookd-build-shop", "-o", "pid=", check=False).stdout == ""


def test_app_variables_reach_no_root_program(shop: Shop) -> None:
    """PYTHONPATH among the app's variables leads into the release, which a push decides."""
    machine = shop.machine
    machine.shell("echo PYTHONPATH=/srv/shop/next/evil >> /etc/hookd/env/shop")
    machine.run("hookd", "app", "edit", "shop", "--set", "build.commands=[]")
    record = shop.push("evil", {"evil/sitecustomize.py": _EVIL})
    log = shop.hookd("logs", record["id"])
    users = set(re.findall(r"spy runs as (\d+)", log))
    assert users == {machine.run("id", "-u", "www-data").stdout.strip()}, log
    shown = machine.run("systemctl", "show", "--property=EnvironmentFiles", "shop-build.service").stdout
    assert shown.strip() in ("", "EnvironmentFiles=")


def test_attacks_work_without_a_sandbox(shop: Shop, reports: dict[str, dict[str, Any]]) -> None:
    """Prove that the attempts are real: root succeeds with most of them, and breaks this server."""
    machine = shop.machine
    variables = {"SHOP_TOKEN_FILE": "/etc/hostname"}
    done = machine.run("python3", "attack.py", "build", "blog", directory="/srv/shop/current", env=variables)
    report = json.loads(done.stdout.splitlines()[-1])
    assert len(report["worked"]) > 30, sorted({*attack.ATTACKS, *attack.BUILD_ONLY} - set(report["worked"]))
