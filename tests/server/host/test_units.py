"""The installed units on Debian 12 and 13: read without complaint, as closed as they are to be, and at work in that."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from hookd.model.app import App, Limits
from tests.server.conftest import Figures
from tests.support.rendered import BLOG, HOST, files
from tests.support.server.machine import Machine
from tests.support.server.servers import Layer, Servers
from tests.support.server.shop import Shop, set_up_layer, shop_layer
from tests.support.server.visitors import visitors
from worker.service.drift import ServiceState
from worker.service.manager import read_states, states_command

UNITS: Final = "/etc/systemd/system"
# systemd 252 and 257: what `systemd-analyze security` may say at most, from 0 (closed) to 10 (open).
MOST: Final = {
    "hookd.service": (0.3, 0.3),
    "hookd-redis.service": (1.5, 1.5),
    # Before 257 a closer sandbox would take the right to say sudo away.
    "hookd-worker@1.service": (5.8, 2.2),
    "hookd-worker@2.service": (5.8, 2.2),
    "hookd-reconcile.service": (1.4, 1.4),
    # It brings up the colour that serves, and says the worker's own sudo lines for that; users' requests never meet it.
    "shop.service": (5.8, 2.2),
    "shop-blue.service": (2.5, 2.5),
    "shop-green.service": (2.5, 2.5),
    "blog.service": (2.5, 2.5),
}
ACTIVE: Final = (
    *("hookd-redis.service", "hookd.socket", "hookd.service", "hookd-doctor.timer"),
    *("hookd-worker@1.service", "hookd-worker@2.service", "shop.socket", "shop.service"),
)


def shop_of(servers: Servers, suite: str) -> Layer:
    """The disk of a server of either Debian whose app is deployed."""
    if suite == "bookworm":
        return shop_layer(servers)
    return servers.layer(
        f"shop {suite}", lambda machine: Shop(machine).add("--data", "uploads"), on=set_up_layer(servers, suite)
    )


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server of either Debian with an app of two colours, and the unit of one that restarts."""
    with servers.start(shop_of(servers, request.param)) as machine:
        found = Shop(machine)
        machine.wait_until(lambda: found.page() == "v1", what="the shop")
        write_blog(machine, BLOG)
        yield found


def write_blog(machine: Machine, app: App) -> None:
    """Let systemd know the units of an app that restarts, as this hookd renders them for this systemd."""
    for path, file in files(replace(HOST, systemd=systemd(machine)), app).items():
        if path.name in ("blog.service", "blog.socket"):
            machine.write(str(path), file.text)
    machine.run("systemctl", "daemon-reload")


def systemd(machine: Machine) -> int:
    """The number of the server's systemd."""
    return int(machine.run("systemctl", "--version").stdout.split()[1])


def idle_unit(shop: Shop) -> str:
    """The unit of the colour that does not serve, as soon as it has been stopped."""
    found: list[str] = []

    def is_there() -> bool:
        units = ("shop-blue.service", "shop-green.service")
        found[:] = [unit for unit in units if shop.machine.unit_state(unit) in ("inactive", "failed")]
        return bool(found)

    shop.machine.wait_until(is_there, what="the end of one colour")
    return found[0]


def serving_unit(shop: Shop) -> str:
    """The unit of the colour that serves."""
    return next(unit for unit in ("shop-blue.service", "shop-green.service") if unit != idle_unit(shop))


def exposure(shop: Shop, unit: str) -> float:
    """What systemd says of a unit with its drop-ins."""
    printed = shop.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
    found = re.search(rf"Overall exposure level for {re.escape(unit)}: ([0-9.]+)", printed)
    assert found, printed
    return float(found[1])


def test_a_push_a_broken_one_and_the_way_back_work_in_them(shop: Shop) -> None:
    """The worker starts and stops the app through sudo, from within its sandbox."""
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        assert shop.push("v2")["status"] == "succeeded"
        assert shop.push("v3")["status"] == "succeeded"
        assert shop.push("broken", {"wsgi.py": "raise RuntimeError('broken')\n"})["status"] in ("rolled_back", "failed")
        assert shop.page() == "v3"
        shop.hookd("rollback", "shop")
    assert shop.page() == "v2"
    assert not crowd.failures, crowd.failures[:5]


def test_no_unit_leaves_more_open_than_it_may(shop: Shop, figures: Figures) -> None:
    newer = systemd(shop.machine) >= 257
    found = {unit: exposure(shop, unit) for unit in MOST}
    assert {unit: value for unit, value in found.items() if value > MOST[unit][newer]} == {}
    told = ", ".join(f"{unit} {value}" for unit, value in found.items())
    figures.note(f"exposure, systemd {systemd(shop.machine)}: {told}")


def test_systemd_sudo_and_nginx_have_nothing_to_say_about_any_file(shop: Shop) -> None:
    found = shop.machine.run(
        "find", UNITS, "-maxdepth", "1", "-type", "f", "(", "-name", "hookd*", "-o", "-name", "shop*", ")"
    )
    units = sorted(found.stdout.split())
    assert len(units) == 14, units
    # As they are in files, and with their drop-ins and instances; the blog has no release yet.
    for names in (units, (*MOST.keys() - {"blog.service"}, "hookd.socket", "shop.socket")):
        done = shop.machine.run("systemd-analyze", "verify", "--man=no", *names)
        assert (done.stdout, done.stderr) == ("", "")
    shop.machine.run("visudo", "--check")
    shop.machine.run("nginx", "-t")


def test_a_push_that_nobody_told_of_is_found_in_them(shop: Shop) -> None:
    """What looks for it has no privilege at all: it asks the git host with the app's key, and the worker in Redis."""
    shop.commit("missed")
    shop.look()
    shop.machine.wait_until(lambda: shop.page() == "missed" and len(up(shop)) == 1, 60, "the missed push")


def up(shop: Shop) -> dict[str, ServiceState]:
    """The colours that run, as the worker sees them."""
    asked = states_command(("shop-blue.service", "shop-green.service", "no-such.service"), Limits())
    found = read_states(shop.machine.run(*asked.argv).stdout.splitlines())
    assert found["no-such.service"] == ServiceState()
    return {name: unit for name, unit in found.items() if unit.is_up}


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_what_a_service_runs_is_seen_from_the_outside(shop: Shop) -> None:
    """Both ways: what gunicorn says of itself, and when it started compared with when its link was last pointed."""
    [(serving, unit)] = up(shop).items()
    root = shop.machine.path("/srv/shop")
    colour = serving.removeprefix("shop-").removesuffix(".service")
    assert unit.directory == f"/srv/shop/{os.readlink(root / colour)}"
    assert unit.started is not None
    assert (root / colour).lstat().st_mtime <= unit.started <= time.time()


def test_all_units_are_active_and_none_has_failed(shop: Shop) -> None:
    assert {unit: shop.machine.unit_state(unit) for unit in ACTIVE} == dict.fromkeys(ACTIVE, "active")
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_the_journal_complains_of_no_unit(shop: Shop) -> None:
    """What systemd finds odd in a unit it says in the journal, and passes over the line."""
    told = shop.machine.run("journalctl", "--no-pager", "--output=cat", "_PID=1").stdout.splitlines()
    odd = ("Unknown", "ignoring", "Failed to parse", "deprecated", "not supported", "lacks")
    units = tuple(f"/{name}" for name in ("hookd", "shop"))
    assert [line for line in told if any(word in line for word in odd) and any(unit in line for unit in units)] == []


def in_worker(shop: Shop, command: str) -> int:
    """Run one command in the sandbox of a worker, with its user; returns its exit status."""
    drop_in = f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={command}\n"
    shop.machine.write("/run/systemd/system/hookd-worker@9.service.d/zz.conf", drop_in)
    shop.machine.run("systemctl", "daemon-reload")
    shop.machine.run("systemctl", "start", "hookd-worker@9.service", check=False)
    return int(shop.machine.run("systemctl", "show", "-P", "ExecMainStatus", "hookd-worker@9.service").stdout)


@pytest.mark.threat(23)
def test_the_worker_can_do_in_its_sandbox_what_a_deployment_needs(shop: Shop) -> None:
    directory = "/srv/shop/releases/by-hand"
    idle = idle_unit(shop)
    for command in (
        f"/usr/bin/sudo -n /usr/bin/systemctl restart {idle}",
        f"/usr/bin/sudo -n /usr/bin/systemctl stop {idle}",
        f"/usr/bin/systemctl show -P MainPID {idle}",
        f"/usr/bin/mkdir -m 2750 {directory}",
        f"/usr/bin/chgrp www-data {directory}",
        f"/usr/bin/chmod 2770 {directory}",
        f"/usr/bin/test -g {directory}",
        f"/usr/bin/rmdir {directory}",
        "/usr/bin/test -w /var/lib/hookd",
        "/usr/bin/test -w /var/log/hookd",
        "/usr/bin/test -w /run/hookd-redis/redis.sock",
    ):
        assert in_worker(shop, command) == 0, command


@pytest.mark.threat(23)
def test_the_worker_can_do_nothing_else_in_its_sandbox(shop: Shop) -> None:
    for command in (
        "/usr/bin/sudo -n /usr/bin/systemctl restart hookd.service",
        "/usr/bin/sudo -n /usr/bin/systemctl stop shop.socket",
        "/usr/bin/sudo -n /usr/bin/systemctl restart shop-green",
        "/usr/bin/sudo -n /usr/bin/id",
        "/usr/bin/touch /etc/written",
        "/usr/bin/touch /opt/hookd/written",
        "/usr/bin/touch /usr/local/bin/written",
        "/usr/bin/touch /srv/written",
        "/usr/bin/cat /etc/hookd/secrets/shop",
        "/usr/bin/cat /etc/hookd/token",
        "/usr/bin/ls /root",
        "/usr/bin/ls /home/.",
    ):
        assert in_worker(shop, command) != 0, command


def test_a_question_that_nobody_answered_does_not_start_a_release_again(shop: Shop) -> None:
    """A release that hangs is asked in vain, then stopped: what waits in its private socket must not start it again."""
    page, idle = shop.page(), idle_unit(shop)
    colour = idle.removeprefix("shop-").removesuffix(".service")
    shop.machine.shell(
        f"""
        cd /srv/shop/releases && cp -a "$(readlink -f ../current)" 999999-hangs
        echo 'import time; time.sleep(3600)' > 999999-hangs/wsgi.py
        ln -sfn releases/999999-hangs ../{colour} && chown -h manager:www-data ../{colour}
        systemctl restart {idle}
        """
    )
    question = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/hookd-apps/shop-{colour}.sock')"
    for _ in range(3):
        shop.machine.run("python3", "-c", f"{question}; s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')", user="manager")
    shop.machine.run("systemctl", "stop", "--no-block", idle)
    shop.machine.run("systemctl", "kill", "--signal=KILL", idle, check=False)
    shop.machine.wait_until(lambda: shop.machine.unit_state(idle) in ("inactive", "failed"), what="its end")
    shop.machine.run("sleep", "2")
    assert shop.machine.unit_state(idle) in ("inactive", "failed")
    assert shop.machine.unit_state(f"shop-{colour}-health.socket") == "active"
    assert shop.page() == page


def test_a_crash_leaves_the_door_open(shop: Shop) -> None:
    page = shop.page()
    before = shop.machine.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "shop.socket").stdout
    shop.machine.run("systemctl", "kill", "--signal=KILL", serving_unit(shop))
    shop.machine.wait_until(lambda: shop.page() == page, what="its return")
    after = shop.machine.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "shop.socket").stdout
    assert (before, shop.machine.unit_state("shop.socket")) == (after, "active")


def test_who_closes_the_door_stops_everything_behind_it(shop: Shop) -> None:
    page = shop.page()
    sockets = ("shop-blue-health.socket", "shop-green-health.socket", "shop.socket")
    parts = ("shop.service", serving_unit(shop), *sockets)
    shop.machine.run("systemctl", "stop", "shop.socket")
    assert [shop.machine.unit_state(unit) for unit in parts] == ["inactive"] * len(parts)
    shop.machine.run("systemctl", "start", "shop.service")
    assert shop.page() == page


_SHOW_ENVIRONMENT = """[Service]
Type=oneshot
Restart=no
WorkingDirectory=/
EnvironmentFile=
ExecStart=
ExecStart=/bin/cat /proc/self/environ
StandardOutput=truncate:/run/environment
"""


@pytest.mark.threat(68)
def test_systemd_reads_back_what_the_catalogue_says_whatever_signs_are_in_it(shop: Shop) -> None:
    page = '/h?a=%i&b="x"\\n\'$HOME${PATH};#z\\'
    health = {"url": f"unix:/run/hookd-apps/blog.sock:{page}"}
    app = App.model_validate({**BLOG.model_dump(), "health": health})
    shop.machine.write("/run/systemd/system/blog.service.d/show.conf", _SHOW_ENVIRONMENT)
    write_blog(shop.machine, app)
    shop.machine.run("systemctl", "start", "blog.service")
    variables = dict(line.split("=", 1) for line in shop.machine.read("/run/environment").rstrip("\0").split("\0"))
    assert variables["HOOKD_HEALTH_PATH"] == page
