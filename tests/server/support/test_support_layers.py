"""Layers of servers: kept and shared files, and a complete removal."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PROJECT, python, wait_for
from tests.support.server.machine import Machine
from tests.support.server.places import cache, workplace
from tests.support.server.servers import Layer, Servers
from tests.support.server.web import ask


def make_marked(machine: Machine) -> None:
    """Add, change and delete files, and enable a unit."""
    machine.run("useradd", "--system", "manager")
    machine.run("rm", "-r", "/etc/fail2ban")
    unit = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    machine.write("/etc/systemd/system/mark.service", unit)
    machine.run("systemctl", "enable", "mark.service")


@pytest.fixture(scope="module")
def marked(servers: Servers) -> Layer:
    """A layer with these changes."""
    return servers.layer("marked", make_marked)


def test_files_outlive_reboot_and_power_cut(servers: Servers, marked: Layer) -> None:
    with servers.start(marked) as machine:
        before, boots = machine.files(), {machine.read("/proc/sys/kernel/random/boot_id")}
        machine.write("/srv/kept", "kept")
        machine.write("/run/lost", "lost")
        for boot in (machine.reboot, machine.power_cut):
            boot()
            assert machine.read("/srv/kept") == "kept"
            assert not machine.path("/run/lost").exists()
            assert machine.unit_state("mark.service") == "active"
            boots.add(machine.read("/proc/sys/kernel/random/boot_id"))
        assert len(boots) == 3
        machine.run("rm", "/srv/kept")
        assert machine.files() == before


def test_machines_of_one_layer_are_separate(servers: Servers, marked: Layer) -> None:
    with servers.start(marked) as one, servers.start(marked) as two:
        one.write("/var/www/html/index.html", "one")
        two.write("/var/www/html/index.html", "two")
        assert [ask(one, "a").text, ask(two, "a").text] == ["one", "two"]
        assert "manager" in one.read("/etc/passwd")
        assert not one.path("/etc/fail2ban").exists()
    assert servers.layer("marked", make_marked) == marked


def test_layer_on_a_layer(servers: Servers, marked: Layer) -> None:
    upper = servers.layer("more", lambda machine: machine.write("/etc/fail2ban/again", "again"), on=marked)
    with servers.start(upper) as machine:
        assert [path.name for path in machine.path("/etc/fail2ban").iterdir()] == ["again"]
        assert machine.unit_state("mark.service") == "active"


def test_failed_layer_is_not_repeated(servers: Servers) -> None:
    made = []

    def make(machine: Machine) -> None:
        made.append(machine)
        machine.run("false")

    for _ in range(2):
        with pytest.raises(AssertionError, match="'broken' could not be made"):
            servers.layer("broken", make)
    assert len(made) == 1


def test_machine_leaves_nothing(servers: Servers) -> None:
    with servers.start() as machine:
        first, name = (
            machine.root,
            machine.run("cat", "/proc/1/mountinfo").stdout.split("sessions/")[1].split("/upper")[0],
        )
    assert not first.exists()
    assert name not in Path("/proc/self/mountinfo").read_text()
    assert f"sessions/{name}" not in _command_lines()
    assert not list(Path("/sys/fs/cgroup").rglob(f"hookd-{name.replace('/', '-')}*"))


_HOLD = """
import time
from tests.support.server.places import workplace
from tests.support.server.servers import Servers
with workplace() as directory, Servers(directory, directory).start():
    print(directory.name, flush=True)
    time.sleep(600)
"""


def test_killed_tests_leave_nothing_running(servers: Servers) -> None:
    with subprocess.Popen(python("-c", _HOLD), cwd=PROJECT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        name = tests.stdout.readline().strip()
        assert name in _command_lines()
        tests.send_signal(signal.SIGKILL)
    wait_for(lambda: name not in _command_lines(), what="the end of the machine")
    with workplace():
        assert not (cache() / "sessions" / name).exists()
    assert not list(Path("/sys/fs/cgroup").rglob(f"hookd-{name}*"))


def test_debian_13_boots_too(servers: Servers) -> None:
    with servers.start(suite="trixie") as machine:
        assert machine.run("systemctl", "--version").stdout.startswith("systemd 257")
        assert machine.run("systemctl", "--failed", "--no-legend").stdout == ""


def _command_lines() -> str:
    return subprocess.run(["ps", "-e", "-o", "args="], capture_output=True, text=True, check=True).stdout
