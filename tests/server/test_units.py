"""The rendered units on systemd 252 and 257: read without complaint, closed as they should be, and sudo works."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hookd.contract.catalogue import App
from tests.support.rendered import BLOG, HOST, files
from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, set_up_layer

UNITS = "/etc/systemd/system"
# The greatest exposure of 10 that systemd-analyze may see, on systemd 252 and from 257 on.
THRESHOLDS = {
    "hookd.service": (0.3, 0.3),
    "hookd-redis.service": (1.5, 1.5),
    "hookd-worker@1.service": (5.8, 2.2),
    "hookd-reconcile.service": (1.4, 1.4),
    "shop.service": (5.8, 2.2),
    "shop-blue.service": (2.5, 2.5),
    "shop-green.service": (2.5, 2.5),
}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Machine]:
    """A server with an app that was deployed twice: green serves, blue is idle."""
    with servers.start(set_up_layer(servers, request.param)) as server:
        shop = Shop(server)
        shop.add("--handover", "blue-green", "--data", "uploads")
        assert shop.push("v2")["status"] == "succeeded"
        yield server


def version(machine: Machine) -> int:
    return int(machine.run("systemctl", "--version").stdout.split()[1])


def test_systemd_has_nothing_to_say_about_any_unit(machine: Machine) -> None:
    found = machine.run(
        "find", UNITS, "-maxdepth", "1", "-type", "f", "(", "-name", "hookd*", "-o", "-name", "shop*", ")"
    )
    units = sorted(found.stdout.split())
    assert len(units) == 14, units
    done = machine.run("systemd-analyze", "verify", "--man=no", *units)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("unit", THRESHOLDS)
def test_no_unit_leaves_more_open_than_it_may(machine: Machine, unit: str) -> None:
    most = THRESHOLDS[unit][version(machine) >= 257]
    machine.run("systemd-analyze", "security", "--no-pager", f"--threshold={round(most * 10)}", unit)


def in_worker(machine: Machine, command: str) -> int:
    """Run one command in the sandbox of a worker, with its user; returns its exit status."""
    drop_in = f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={command}\n"
    machine.write("/run/systemd/system/hookd-worker@9.service.d/zz.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "hookd-worker@9.service", check=False)
    return int(machine.run("systemctl", "show", "-P", "ExecMainStatus", "hookd-worker@9.service").stdout)


def test_the_worker_can_do_in_its_sandbox_what_a_deployment_needs(machine: Machine) -> None:
    directory = "/srv/shop/releases/by-hand"
    for command in (
        "/usr/bin/sudo -n /usr/bin/systemctl restart shop-blue.service",
        "/usr/bin/sudo -n /usr/bin/systemctl stop shop-blue.service",
        "/usr/bin/systemctl show -P MainPID shop-green.service",
        f"/usr/bin/mkdir -m 2750 {directory}",
        f"/usr/bin/chgrp www-data {directory}",
        f"/usr/bin/chmod 2770 {directory}",
        f"/usr/bin/test -g {directory}",
        f"/usr/bin/rmdir {directory}",
        "/usr/bin/test -w /var/lib/hookd",
        "/usr/bin/test -w /var/log/hookd",
        "/usr/bin/test -w /run/hookd-redis/redis.sock",
    ):
        assert in_worker(machine, command) == 0, command


def test_the_worker_can_do_nothing_else_in_its_sandbox(machine: Machine) -> None:
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
        assert in_worker(machine, command) != 0, command


def test_a_question_that_nobody_answered_does_not_start_a_release_again(machine: Machine) -> None:
    """A release that hangs is asked in vain, then stopped: what waits in its private socket must not start it again."""
    machine.shell(
        """
        cd /srv/shop/releases && cp -a "$(readlink -f ../current)" 999999-hangs
        echo 'import time; time.sleep(3600)' > 999999-hangs/wsgi.py
        ln -sfn releases/999999-hangs ../blue && chown -h manager:www-data ../blue
        systemctl restart shop-blue.service
        """
    )
    question = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/hookd-apps/shop-blue.sock')"
    for _ in range(3):
        machine.run("python3", "-c", f"{question}; s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')", user="manager")
    machine.run("systemctl", "stop", "--no-block", "shop-blue.service")
    machine.run("systemctl", "kill", "--signal=KILL", "shop-blue.service", check=False)
    machine.wait_until(lambda: machine.unit_state("shop-blue.service") in ("inactive", "failed"), what="its end")
    machine.run("sleep", "2")
    assert machine.unit_state("shop-blue.service") in ("inactive", "failed")
    assert machine.unit_state("shop-blue-health.socket") == "active"
    assert Shop(machine).page() == "v2"


def test_a_crash_leaves_the_door_open(machine: Machine) -> None:
    before = machine.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "shop.socket").stdout
    machine.run("systemctl", "kill", "--signal=KILL", "shop-green.service")
    machine.wait_until(lambda: Shop(machine).page() == "v2", what="its return")
    after = machine.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", "shop.socket").stdout
    assert (before, machine.unit_state("shop.socket")) == (after, "active")


def test_who_closes_the_door_stops_everything_behind_it(machine: Machine) -> None:
    parts = ("shop.service", "shop-green.service", "shop-blue-health.socket", "shop-green-health.socket", "shop.socket")
    machine.run("systemctl", "stop", "shop.socket")
    assert [machine.unit_state(unit) for unit in parts] == ["inactive"] * len(parts)
    machine.run("systemctl", "start", "shop.service")
    assert Shop(machine).page() == "v2"


_SHOW_ENVIRONMENT = """[Service]
Type=oneshot
Restart=no
WorkingDirectory=/
EnvironmentFile=
ExecStart=
ExecStart=/bin/cat /proc/self/environ
StandardOutput=truncate:/run/environment
"""


def test_systemd_reads_back_what_the_catalogue_says_whatever_signs_are_in_it(machine: Machine) -> None:
    page = '/h?a=%i&b="x"\\n\'$HOME${PATH};#z\\'
    health = {"url": f"unix:/run/hookd-apps/blog.sock:{page}"}
    app = App.model_validate({**BLOG.model_dump(), "health": health})
    for path, file in files(replace(HOST, systemd=version(machine)), app).items():
        if path.name in ("blog.service", "blog.socket"):
            machine.write(str(path), file.text)
    machine.write("/run/systemd/system/blog.service.d/show.conf", _SHOW_ENVIRONMENT)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "blog.service")
    variables = dict(line.split("=", 1) for line in machine.read("/run/environment").rstrip("\0").split("\0"))
    assert variables["HOOKD_HEALTH_PATH"] == page
