"""The servers of other tests run commands as users, apply directives, and show their files."""

from pathlib import Path

import pytest

from tests.support.server.machine import Machine


def test_systemd_boots_without_failures(fresh_server: Machine) -> None:
    assert fresh_server.read("/proc/1/comm") == "systemd\n"
    assert fresh_server.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert fresh_server.run("stat", "-f", "-c", "%T", "/sys/fs/cgroup").stdout == "cgroup2fs\n"


def test_command_runs_as_its_user(fresh_server: Machine) -> None:
    assert fresh_server.run("id", "--user", "--name", user="www-data").stdout == "www-data\n"
    assert fresh_server.run("id", "--groups", "--name", user="www-data").stdout == "www-data\n"
    assert fresh_server.run("tty", user="www-data", check=False).returncode == 1
    assert fresh_server.run("cat", "/etc/shadow", user="www-data", check=False).returncode == 1
    assert fresh_server.run("cat", input="a text").stdout == "a text"


def test_failing_command_fails_the_test(fresh_server: Machine) -> None:
    with pytest.raises(AssertionError, match="nothing-there"):
        fresh_server.run("ls", "/nothing-there")
    with pytest.raises(AssertionError, match="took more than"):
        fresh_server.run("sleep", "1234567", timeout=0.2)
    search = ("pgrep", "-f", "sleep 1234567")
    fresh_server.wait_until(lambda: not fresh_server.run(*search, check=False).stdout, what="the end of sleep")


def test_shell_ends_at_the_first_failure(fresh_server: Machine) -> None:
    assert fresh_server.shell("echo one\necho two >&2", directory="/tmp") == "one\ntwo\n"
    with pytest.raises(AssertionError):
        fresh_server.shell("false\ntouch /tmp/continued")
    assert not fresh_server.path("/tmp/continued").exists()


def test_sudo_follows_its_rules(fresh_server: Machine) -> None:
    fresh_server.run("useradd", "--system", "sudoer")
    rule = "sudoer ALL=(root) NOPASSWD: /usr/bin/systemctl restart nginx.service\n"
    fresh_server.write("/etc/sudoers.d/sudoer", rule, 0o440)
    command = ("sudo", "-n", "/usr/bin/systemctl")
    assert fresh_server.run(*command, "restart", "nginx.service", user="sudoer").stderr == ""
    assert fresh_server.run(*command, "stop", "nginx.service", user="sudoer", check=False).returncode == 1
    assert fresh_server.unit_state("nginx.service") == "active"


@pytest.mark.parametrize(
    ("directive", "command", "refused"),
    [
        ("IPAddressDeny=any", ("curl", "--max-time", "2", "-s", "http://127.0.0.1/"), 28),
        ("PrivateNetwork=yes", ("curl", "--max-time", "2", "-s", "http://127.0.0.1/"), 7),
        ("DevicePolicy=closed", ("bash", "-c", "rm -f /srv/tun; mknod /srv/tun c 10 200 && : </srv/tun"), 1),
        ("SystemCallFilter=~mkdir", ("mkdir", "-p", "/tmp/directory"), 255),
    ],
)
def test_sandbox_directives_work(fresh_server: Machine, directive: str, command: tuple[str, ...], refused: int) -> None:
    start = ("systemd-run", "-q", "--wait", "--pipe")
    assert fresh_server.run(*start, *command, check=False).returncode == 0
    assert fresh_server.run(*start, "-p", directive, *command, check=False).returncode == refused


def test_installers_reach_their_index(fresh_server: Machine) -> None:
    lines = "python3 -m venv /tmp/venv\n/tmp/venv/bin/pip download --quiet --no-deps --dest /tmp/wheels click\n"
    fresh_server.shell(lines, user="www-data", directory="/tmp")
    assert len(list(fresh_server.path("/tmp/wheels").iterdir())) == 1


def test_links_are_resolved_inside(fresh_server: Machine) -> None:
    fresh_server.write("/srv/one/file", "inside")
    fresh_server.run("ln", "-s", "/srv/one", "/srv/current")
    fresh_server.run("ln", "-s", "/srv/current/file", "/srv/link")
    assert fresh_server.read("/srv/current/file") == fresh_server.read("/srv/link") == "inside"
    assert fresh_server.path("/srv/link").readlink() == Path("/srv/current/file")
    assert fresh_server.path("/srv/current/../file") == fresh_server.path("/srv/file")


def test_files_show_changes(fresh_server: Machine) -> None:
    before = fresh_server.files()
    fresh_server.write("/srv/new", "", 0o640, "root:www-data")
    fresh_server.run("chmod", "0700", "/srv")
    after = fresh_server.files()
    assert {name for name in after if before.get(name) != after[name]} == {"/srv", "/srv/new"}
    assert after["/srv/new"] == (0o100640, 0, 33)
    fresh_server.run("rm", "/srv/new")
    fresh_server.run("chmod", "0755", "/srv")
    assert fresh_server.files() == before


def test_checkout_includes_uncommitted_changes(fresh_server: Machine) -> None:
    fresh_server.copy_checkout("/root/copy")
    here = Path(__file__)
    assert fresh_server.read("/root/copy/tests/server/support/test_support.py") == here.read_text()
    assert fresh_server.run("stat", "-c", "%U %a", "/root/copy/run").stdout == "root 755\n"
    assert not fresh_server.path("/root/copy/.venv").exists()
