"""The servers that other tests stand on: they boot, keep what they should, and leave nothing behind."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Layer, Servers
from tests.support.server.sshgit import NAME, GitHost, git_host
from tests.support.server.visitors import visitors
from tests.support.server.web import ask, push

KEY = "/root/.ssh/id_ed25519"


def make_marked(machine: Machine) -> None:
    """A layer that adds, changes and deletes files, and enables a unit."""
    machine.run("useradd", "--system", "manager")
    machine.run("rm", "-r", "/etc/fail2ban")
    unit = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    machine.write("/etc/systemd/system/mark.service", unit)
    machine.run("systemctl", "enable", "mark.service")


@pytest.fixture(scope="module")
def marked(servers: Servers) -> Layer:
    """That layer."""
    return servers.layer("marked", make_marked)


@pytest.fixture(scope="module")
def host(fresh_server: Machine) -> GitHost:
    """A git host that knows one deploy key, of root."""
    found = git_host(fresh_server)
    fresh_server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY)
    fresh_server.write("/root/.ssh/known_hosts", found.known_hosts)
    found.allow_reading(fresh_server.read(f"{KEY}.pub"), "acme/shop")
    return found


def test_systemd_is_the_first_process_and_no_unit_has_failed(fresh_server: Machine) -> None:
    assert fresh_server.read("/proc/1/comm") == "systemd\n"
    assert fresh_server.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert fresh_server.run("stat", "-f", "-c", "%T", "/sys/fs/cgroup").stdout == "cgroup2fs\n"


def test_a_command_runs_as_its_user_without_a_terminal(fresh_server: Machine) -> None:
    assert fresh_server.run("id", "--user", "--name", user="www-data").stdout == "www-data\n"
    assert fresh_server.run("id", "--groups", "--name", user="www-data").stdout == "www-data\n"
    assert fresh_server.run("tty", user="www-data", check=False).returncode == 1
    assert fresh_server.run("cat", "/etc/shadow", user="www-data", check=False).returncode == 1
    assert fresh_server.run("cat", input="a text").stdout == "a text"


def test_a_command_that_fails_or_takes_too_long_fails_the_test(fresh_server: Machine) -> None:
    with pytest.raises(AssertionError, match="nothing-there"):
        fresh_server.run("ls", "/nothing-there")
    with pytest.raises(AssertionError, match="took more than"):
        fresh_server.run("sleep", "1234567", timeout=0.2)
    search = ("pgrep", "-f", "sleep 1234567")
    fresh_server.wait_until(lambda: not fresh_server.run(*search, check=False).stdout, what="its end")


def test_lines_of_a_readme_end_at_the_first_that_fails(fresh_server: Machine) -> None:
    assert fresh_server.shell("echo one\necho two >&2", directory="/tmp") == "one\ntwo\n"
    with pytest.raises(AssertionError):
        fresh_server.shell("false\ntouch /tmp/went-on")
    assert not fresh_server.path("/tmp/went-on").exists()


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
        ("IPAddressDeny=any", ("curl", "--max-time", "3", "-s", "http://127.0.0.1/"), 28),
        ("DevicePolicy=closed", ("sh", "-c", "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg"), 1),
        ("PrivateNetwork=yes", ("curl", "-s", "http://127.0.0.1/"), 7),
    ],
)
def test_sandbox_directives_work(fresh_server: Machine, directive: str, command: tuple[str, ...], refused: int) -> None:
    with_it = fresh_server.run("systemd-run", "-q", "--wait", "--pipe", "-p", directive, *command, check=False)
    assert with_it.returncode == refused, with_it


def test_links_lead_where_they_lead_inside(fresh_server: Machine) -> None:
    fresh_server.write("/srv/one/file", "inside")
    fresh_server.run("ln", "-s", "/srv/one", "/srv/current")
    fresh_server.run("ln", "-s", "/srv/current/file", "/srv/link")
    assert fresh_server.read("/srv/current/file") == fresh_server.read("/srv/link") == "inside"
    assert fresh_server.path("/srv/link").readlink() == Path("/srv/current/file")
    assert fresh_server.path("/srv/current/../file") == fresh_server.path("/srv/file")


def test_the_list_of_files_tells_what_was_added_and_changed(fresh_server: Machine) -> None:
    before = fresh_server.files()
    fresh_server.write("/srv/new", "", 0o640, "root:www-data")
    fresh_server.run("chmod", "0700", "/srv")
    after = fresh_server.files()
    assert {name for name in after if before.get(name) != after[name]} == {"/srv", "/srv/new"}
    assert after["/srv/new"] == (0o100640, 0, 33)
    fresh_server.run("rm", "/srv/new")
    fresh_server.run("chmod", "0755", "/srv")
    assert fresh_server.files() == before


def test_files_and_units_outlive_a_reboot_and_a_power_cut(servers: Servers, marked: Layer) -> None:
    with servers.start(marked) as machine:
        before, boots = machine.files(), {machine.read("/proc/sys/kernel/random/boot_id")}
        machine.write("/srv/kept", "kept")
        machine.write("/run/lost", "lost")
        for again in (machine.reboot, machine.power_cut):
            again()
            assert machine.read("/srv/kept") == "kept"
            assert not machine.path("/run/lost").exists()
            assert machine.unit_state("mark.service") == "active"
            boots.add(machine.read("/proc/sys/kernel/random/boot_id"))
        assert len(boots) == 3
        machine.run("rm", "/srv/kept")
        assert machine.files() == before


def test_machines_on_one_layer_do_not_meet(servers: Servers, marked: Layer) -> None:
    with servers.start(marked) as one, servers.start(marked) as two:
        one.write("/var/www/html/index.html", "one")
        two.write("/var/www/html/index.html", "two")
        assert [ask(one, "a").text, ask(two, "a").text] == ["one", "two"]
        assert "manager" in one.read("/etc/passwd")
        assert not one.path("/etc/fail2ban").exists()
    assert servers.layer("marked", make_marked) is marked


def test_a_layer_on_a_layer(servers: Servers, marked: Layer) -> None:
    upper = servers.layer("more", lambda machine: machine.write("/etc/fail2ban/again", "again"), on=marked)
    with servers.start(upper) as machine:
        assert [path.name for path in machine.path("/etc/fail2ban").iterdir()] == ["again"]
        assert machine.unit_state("mark.service") == "active"


def test_a_server_that_could_not_be_made_is_not_made_again(servers: Servers) -> None:
    made = []

    def make(machine: Machine) -> None:
        made.append(machine)
        machine.run("false")

    for _ in range(2):
        with pytest.raises(AssertionError, match="'broken' could not be made"):
            servers.layer("broken", make)
    assert len(made) == 1


def test_the_checkout_comes_along_with_changes_that_are_not_committed(fresh_server: Machine) -> None:
    fresh_server.copy_checkout("/root/copy")
    here = Path(__file__)
    assert fresh_server.read("/root/copy/tests/server/test_support.py") == here.read_text()
    assert fresh_server.run("stat", "-c", "%U %a", "/root/copy/run").stdout == "root 755\n"
    assert not fresh_server.path("/root/copy/.venv").exists()


def test_a_deploy_key_reads_its_repository_and_nothing_else(fresh_server: Machine, host: GitHost) -> None:
    shop, other = host.repository("acme/shop"), host.repository("acme/other")
    commit = shop.commit_and_push({"app.py": "one"})
    other.commit_and_push({"app.py": "other"})
    for address in (shop.url, shop.url_with_port):
        assert fresh_server.run("git", "ls-remote", address, "main").stdout == f"{commit}\trefs/heads/main\n"
    refused = fresh_server.run("git", "ls-remote", other.url, check=False)
    assert "may only read acme/shop" in refused.stderr
    fresh_server.run("git", "clone", "-q", shop.url, "/tmp/clone")
    assert "may only read" in fresh_server.run("git", "-C", "/tmp/clone", "push", check=False).stderr
    assert fresh_server.run("ssh", f"git@{NAME}", "id", check=False).returncode == 1


def test_a_repository_is_found_again_after_a_reboot(fresh_server: Machine, host: GitHost) -> None:
    fresh_server.reboot()
    shop = git_host(fresh_server).repository("acme/shop")
    commit = shop.commit_and_push({"app.py": "two"})
    assert fresh_server.run("git", "ls-remote", shop.url, "main").stdout.startswith(commit)


def test_visitors_come_at_their_rate_and_say_what_went_wrong(fresh_server: Machine) -> None:
    fresh_server.write("/var/www/html/page", "a page")
    with visitors(fresh_server, "shop.example.org", "/page") as crowd:
        crowd.wait_for_more(200)
        assert (crowd.failures, crowd.seen) == ([], {"a page"})
        fresh_server.run("systemctl", "stop", "nginx.service")
        fresh_server.run("systemctl", "start", "nginx.service")
    assert any("ConnectionRefused" in failure for failure in crowd.failures)
    assert crowd.slowest > 0


@pytest.fixture
def echo(fresh_server: Machine) -> Iterator[str]:
    """A site that answers with the signature it was sent."""
    place = "location / { return 202 $http_x_hub_signature_256; }"
    site = f"server {{ listen 80; server_name deploy.example.org; {place} }}\n"
    fresh_server.write("/etc/nginx/conf.d/echo.conf", site)
    fresh_server.run("systemctl", "restart", "nginx.service")
    yield "deploy.example.org"
    fresh_server.run("rm", "/etc/nginx/conf.d/echo.conf")


def test_a_signed_push_goes_through_nginx(fresh_server: Machine, echo: str) -> None:
    fresh_server.wait_until(lambda: ask(fresh_server, echo).status == 202, what="the site")
    answer = push(fresh_server, echo, "shop", "a secret", after="3" * 40)
    assert answer.status == 202
    assert re.fullmatch(r"sha256=[0-9a-f]{64}", answer.text)


def test_nothing_is_left_of_a_machine(servers: Servers) -> None:
    with servers.start() as machine:
        first, name = (
            machine.root,
            machine.run("cat", "/proc/1/mountinfo").stdout.split("sessions/")[1].split("/upper")[0],
        )
    assert not first.exists()
    assert name not in Path("/proc/self/mountinfo").read_text()
    assert subprocess.run(["pgrep", "-f", f"sessions/{name}"], capture_output=True, check=False).stdout == b""
    assert not list(Path("/sys/fs/cgroup").rglob(f"hookd-{name.replace('/', '-')}*"))
