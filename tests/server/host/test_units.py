"""The installed units on Debian 12 and 13: valid, within their limits of exposure, and working."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from hookd.model.app import App
from tests.server.conftest import Figures
from tests.support.rendered import BLOG, HOST, files
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer
from tests.support.server.visitors import visitors
from worker.service.drift import ServiceState
from worker.service.manager import read_states, states_command

UNITS: Final = "/etc/systemd/system"
# The highest exposure in `systemd-analyze security` for systemd 252 and 257, from 0 (closed) to 10 (open).
MAX_EXPOSURE: Final = {
    "hookd.service": (0.3, 0.3),
    "hookd-redis.service": (1.5, 1.5),
    # Before 257 a stricter sandbox would forbid sudo.
    "hookd-worker@1.service": (5.8, 2.2),
    "hookd-worker@2.service": (5.8, 2.2),
    "hookd-reconcile.service": (1.4, 1.4),
    # It starts the colour that serves with the worker's sudo lines, and no request reaches it.
    "shop.service": (5.8, 2.2),
    "shop-blue.service": (2.5, 2.5),
    "shop-green.service": (2.5, 2.5),
    "blog.service": (2.5, 2.5),
    # Two capabilities make its own number space for processes, and end before its first command.
    "shop-build.service": (4.3, 4.3),
    "shop-check.service": (2.8, 2.8),
}
ACTIVE: Final = (
    *("hookd-redis.service", "hookd.socket", "hookd.service", "hookd-doctor.timer"),
    *("hookd-worker@1.service", "hookd-worker@2.service", "shop.socket", "shop.service"),
)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server of either Debian with an app of two colours, and the unit of one that restarts."""
    with servers.start(shop_layer(servers, suite=request.param)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        write_blog(machine, BLOG)
        yield shop


def write_blog(machine: Machine, app: App) -> None:
    """Install the units of an app that restarts, as hookd renders them for this systemd."""
    for path, file in files(replace(HOST, systemd=systemd(machine)), app).items():
        if path.name in ("blog.service", "blog.socket"):
            machine.write(str(path), file.text)
    machine.run("systemctl", "daemon-reload")


def systemd(machine: Machine) -> int:
    """Return the version of the server's systemd."""
    return int(machine.run("systemctl", "--version").stdout.split()[1])


def idle_unit(shop: Shop) -> str:
    """Wait for a stopped colour and return its unit."""
    idle: list[str] = []

    def has_idle() -> bool:
        units = ("shop-blue.service", "shop-green.service")
        idle[:] = [unit for unit in units if shop.machine.unit_state(unit) in ("inactive", "failed")]
        return bool(idle)

    shop.machine.wait_until(has_idle, what="the end of one colour")
    return idle[0]


def serving_unit(shop: Shop) -> str:
    """Return the unit of the colour that serves."""
    return next(unit for unit in ("shop-blue.service", "shop-green.service") if unit != idle_unit(shop))


def exposure(shop: Shop, unit: str) -> float:
    """Return the exposure of a unit with its drop-ins."""
    printed = shop.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
    level = re.search(rf"Overall exposure level for {re.escape(unit)}: ([0-9.]+)", printed)
    assert level, printed
    return float(level[1])


def test_deployments_work_in_the_sandbox(shop: Shop) -> None:
    """Start and stop the app through sudo from the worker's sandbox."""
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        assert shop.push("v2")["status"] == "succeeded"
        assert shop.push("v3")["status"] == "succeeded"
        assert shop.push("broken", {"wsgi.py": "raise RuntimeError('broken')\n"})["status"] in ("rolled_back", "failed")
        assert shop.page() == "v3"
        shop.hookd("rollback", "shop")
    assert shop.page() == "v2"
    assert not crowd.failures, crowd.failures[:5]


def test_exposure_stays_in_its_limits(shop: Shop, figures: Figures) -> None:
    newer = systemd(shop.machine) >= 257
    levels = {unit: exposure(shop, unit) for unit in MAX_EXPOSURE}
    assert {unit: value for unit, value in levels.items() if value > MAX_EXPOSURE[unit][newer]} == {}
    text = ", ".join(f"{unit} {value}" for unit, value in levels.items())
    figures.note(f"exposure, systemd {systemd(shop.machine)}: {text}")


def test_all_checkers_accept_the_files(shop: Shop) -> None:
    found = shop.machine.run(
        "find", UNITS, "-maxdepth", "1", "-type", "f", "(", "-name", "hookd*", "-o", "-name", "shop*", ")"
    )
    units = sorted(found.stdout.split())
    assert len(units) == 17, units
    # As files, and with drop-ins and instances. The blog has no release yet.
    for names in (units, (*MAX_EXPOSURE.keys() - {"blog.service"}, "hookd.socket", "shop.socket")):
        done = shop.machine.run("systemd-analyze", "verify", "--man=no", *names)
        assert (done.stdout, done.stderr) == ("", "")
    shop.machine.run("visudo", "--check")
    shop.machine.run("nginx", "-t")


def test_reconciliation_works_in_the_sandbox(shop: Shop) -> None:
    """Find a missed push without privileges, with the app's key and a job in Redis."""
    shop.commit("missed")
    shop.reconcile()
    shop.machine.wait_until(lambda: shop.page() == "missed" and len(running_colours(shop)) == 1, 60, "the missed push")


def running_colours(shop: Shop) -> dict[str, ServiceState]:
    """Return the running colours with the worker's own command."""
    command = states_command("shop-blue.service", "shop-green.service", "no-such.service")
    states = read_states(shop.machine.run(*command.argv).stdout.splitlines())
    assert states["no-such.service"] == ServiceState()
    return {name: unit for name, unit in states.items() if unit.is_up}


@pytest.mark.threat(36)
@pytest.mark.promise(13)
def test_running_release_is_observable(shop: Shop) -> None:
    """Read the release from gunicorn's status, and compare its start with the time of its link."""
    [(serving, unit)] = running_colours(shop).items()
    root = shop.machine.path("/srv/shop")
    colour = serving.removeprefix("shop-").removesuffix(".service")
    assert unit.directory == f"/srv/shop/{os.readlink(root / colour)}"
    assert unit.started is not None
    assert (root / colour).lstat().st_mtime <= unit.started <= time.time()


def test_all_units_are_active(shop: Shop) -> None:
    assert {unit: shop.machine.unit_state(unit) for unit in ACTIVE} == dict.fromkeys(ACTIVE, "active")
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_journal_has_no_unit_warnings(shop: Shop) -> None:
    """Find no line of a unit that systemd ignored with a warning."""
    lines = shop.machine.run("journalctl", "--no-pager", "--output=cat", "_PID=1").stdout.splitlines()
    odd = ("Unknown", "ignoring", "Failed to parse", "deprecated", "not supported", "lacks")
    units = tuple(f"/{name}" for name in ("hookd", "shop"))
    assert [line for line in lines if any(word in line for word in odd) and any(unit in line for unit in units)] == []


@pytest.mark.threat(78)
def test_stop_waits_for_each_process(shop: Shop) -> None:
    """Find no process that systemd takes for a foreign one, because it kills such a one with its requests."""
    assert "Supervising process" not in shop.machine.journal("shop-*.service")


def test_old_gunicorn_serves(shop: Shop) -> None:
    """Until version 20.1 each of its processes takes its own user once more."""
    old = "gunicorn==20.1.0\nsetuptools<81\n"
    assert shop.push("old gunicorn", {"requirements.txt": old})["status"] == "succeeded"
    assert shop.page() == "old gunicorn"


def in_worker(shop: Shop, command: str) -> int:
    """Run a command in a worker's sandbox and return its exit status."""
    drop_in = f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={command}\n"
    shop.machine.write("/run/systemd/system/hookd-worker@9.service.d/zz.conf", drop_in)
    shop.machine.run("systemctl", "daemon-reload")
    shop.machine.run("systemctl", "start", "hookd-worker@9.service", check=False)
    return int(shop.machine.run("systemctl", "show", "-P", "ExecMainStatus", "hookd-worker@9.service").stdout)


@pytest.mark.threat(23)
def test_sandbox_permits_deployments(shop: Shop) -> None:
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
def test_sandbox_forbids_everything_else(shop: Shop) -> None:
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


def test_queued_request_restarts_no_release(shop: Shop) -> None:
    """Stop a hanging release whose private socket has requests, which must not start it again."""
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
    request = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/hookd-apps/shop-{colour}.sock')"
    for _ in range(3):
        shop.machine.run("python3", "-c", f"{request}; s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')", user="manager")
    shop.machine.run("systemctl", "stop", "--no-block", idle)
    shop.machine.run("systemctl", "kill", "--signal=KILL", idle, check=False)
    shop.machine.wait_until(lambda: shop.machine.unit_state(idle) in ("inactive", "failed"), what="the stop")
    shop.machine.run("sleep", "2")
    assert shop.machine.unit_state(idle) in ("inactive", "failed")
    assert shop.machine.unit_state(f"shop-{colour}-health.socket") == "active"
    assert shop.page() == page


def test_crash_keeps_the_socket(shop: Shop) -> None:
    page = shop.page()
    before = shop.machine.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "shop.socket").stdout
    shop.machine.run("systemctl", "kill", "--signal=KILL", serving_unit(shop))
    shop.machine.wait_until(lambda: shop.page() == page, what="the restart")
    after = shop.machine.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "shop.socket").stdout
    assert (before, shop.machine.unit_state("shop.socket")) == (after, "active")


def test_socket_stop_stops_the_app(shop: Shop) -> None:
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
def test_systemd_reads_special_characters(shop: Shop) -> None:
    page = '/h?a=%i&b="x"\\n\'$HOME${PATH};#z\\'
    health = {"url": f"unix:/run/hookd-apps/blog.sock:{page}"}
    app = App.model_validate({**BLOG.model_dump(), "health": health})
    shop.machine.write("/run/systemd/system/blog.service.d/show.conf", _SHOW_ENVIRONMENT)
    write_blog(shop.machine, app)
    shop.machine.run("systemctl", "start", "blog.service")
    variables = dict(line.split("=", 1) for line in shop.machine.read("/run/environment").rstrip("\0").split("\0"))
    assert variables["HOOKD_HEALTH_PATH"] == page


def test_systemd_watches_the_receiver(shop: Shop) -> None:
    """It has no master that would end it while it hangs."""
    shown = shop.machine.run("systemctl", "show", "--property=WatchdogUSec,NRestarts", "hookd.service").stdout
    assert set(shown.split()) == {"WatchdogUSec=1min", "NRestarts=0"}
