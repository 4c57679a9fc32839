"""sudo on a real server permits the worker's listed commands and no similar ones."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

import pytest

from hookd.model.units.phases import PHASE_PIPES
from hookd.model.units.systemctl import sudo_commands
from tests.support.server.commands import Done
from tests.support.server.machine import Machine
from tests.support.server.neighbours import apps, neighbours_layer, wait_for_services
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop

ON: Final = "/usr/bin/systemctl restart blog.service"
LINES: Final = f"""
/usr/bin/systemctl restart blog
/usr/bin/systemctl restart blog.socket
/usr/bin/systemctl restart nginx.service
/usr/bin/systemctl restart hookd-redis.service
/usr/bin/systemctl restart shop.service
/usr/bin/systemctl restart shop.socket
/usr/bin/systemctl restart
/usr/bin/systemctl restart ./blog.service
/usr/bin/systemctl restart blog.service blog.service
/usr/bin/systemctl restart blog.service nginx.service
/usr/bin/systemctl restart nginx.service blog.service
/usr/bin/systemctl restart shop-blue.service shop-green.service
/usr/bin/systemctl restart 'blog.service nginx.service'
/usr/bin/systemctl restart $'blog.service\\n'
/usr/bin/systemctl restart $'blog.service\\nnginx.service'
/usr/bin/systemctl restart 'blog.service '
/usr/bin/systemctl restart '*.service'
/usr/bin/systemctl restart 'blo[g].service'
/usr/bin/systemctl restart 'shop-*.service'
/usr/bin/systemctl restart BLOG.service
/usr/bin/systemctl restart -- blog.service
/usr/bin/systemctl restart '' blog.service
/usr/bin/systemctl restart blog.service ''
/usr/bin/systemctl restart --root=/var/lib/hookd blog.service
/usr/bin/systemctl --root=/var/lib/hookd restart blog.service
/usr/bin/systemctl restart blog.service --now
/usr/bin/systemctl --now restart blog.service
/usr/bin/systemctl --no-block restart blog.service
/usr/bin/systemctl restart --no-block blog.service
/usr/bin/systemctl -H root@127.0.0.1 restart blog.service
/usr/bin/systemctl restart blog.service -H root@127.0.0.1
/usr/bin/systemctl -M .host restart blog.service
/usr/bin/systemctl --user restart blog.service
/usr/bin/systemctl start blog.service
/usr/bin/systemctl stop blog.service
/usr/bin/systemctl reload blog.service
/usr/bin/systemctl reload-or-restart blog.service
/usr/bin/systemctl try-restart blog.service
/usr/bin/systemctl kill blog.service
/usr/bin/systemctl kill shop-blue.service
/usr/bin/systemctl reset-failed blog.service
/usr/bin/systemctl freeze blog.service
/usr/bin/systemctl status blog.service
/usr/bin/systemctl show blog.service
/usr/bin/systemctl cat blog.service
/usr/bin/systemctl edit blog.service
/usr/bin/systemctl enable blog.service
/usr/bin/systemctl disable blog.service
/usr/bin/systemctl mask blog.service
/usr/bin/systemctl revert blog.service
/usr/bin/systemctl enable --now /var/lib/hookd/pwn.service
/usr/bin/systemctl link /var/lib/hookd/pwn.service
/usr/bin/systemctl set-property blog.service CPUWeight=1
/usr/bin/systemctl set-environment LD_PRELOAD=/var/lib/hookd/pwn.so
/usr/bin/systemctl import-environment
/usr/bin/systemctl daemon-reload
/usr/bin/systemctl daemon-reexec
/usr/bin/systemctl isolate rescue.target
/usr/bin/systemctl poweroff
/usr/bin/systemctl
/usr/bin/../bin/systemctl restart shop.service
LD_PRELOAD=/var/lib/hookd/pwn.so {ON}
SYSTEMD_EDITOR=/var/lib/hookd/pwn {ON}
PATH=/var/lib/hookd systemctl restart blog.service
-E {ON}
--preserve-env=TRAP {ON}
-D /var/lib/hookd {ON}
-R /var/lib/hookd {ON}
-h other {ON}
-u www-data {ON}
-u hookd-redis {ON}
-u '#0' -g '#33' {ON}
-u '#-1' {ON}
-u '#4294967295' {ON}
-g root {ON}
-s {ON}
-i {ON}
-s
-i
-e /etc/systemd/system/blog.service
-e /etc/sudoers.d/hookd-blog
-l -U root
/bin/sh -c '{ON}'
/usr/bin/env {ON}
/usr/bin/chmod 4755 /var/lib/hookd/pwn
/usr/bin/journalctl
/usr/local/bin/hookd app list
/usr/local/bin/hookd restart blog
/opt/hookd/current/venv/bin/python -c 'print(1)'
"""
# The refusals of sudo. The commands themselves print something else or nothing.
NO: Final = "|".join((
    "sudo: a password is required",
    "sudo: sorry, you are not allowed to preserve the environment",
    r"sudo: sorry, you are not allowed to set the following environment variables: \w+",
    "sudo: you are not permitted to use the -[DR] option with /usr/bin/systemctl",
    r"(sudo: unable to resolve host other: .*\n)?sudo: a remote host may only be specified when listing privileges\.",
    r"sudo: unknown user #\S+(\nsudo: error initializing audit plugin sudoers_audit)?",
    r"Sorry, user \S+ is not allowed to execute 'list' as root on \S+\.",
))  # fmt: skip
PHASES_OF_BOTH: Final = {f"{app}-{phase}.service" for app in ("shop", "blog") for phase in ("build", "check", "in-use")}
REFUSED: Final = tuple(line for line in LINES.splitlines() if line)


@pytest.fixture(scope="module")
def server(servers: Servers) -> Iterator[Machine]:
    """A server with two apps, and a unit where the worker's user can write."""
    with servers.start(neighbours_layer(servers)) as machine:
        wait_for_services(machine)
        machine.write("/var/lib/hookd/pwn.service", "[Service]\nExecStart=/bin/touch /pwned\n", owner="manager:manager")
        yield machine


def state(machine: Machine) -> str:
    """Return everything that systemctl could change: starts, links and properties of units."""
    properties = "--property=Id,InvocationID,ActiveState,UnitFileState,FragmentPath,DropInPaths,NRestarts,CPUWeight"
    units = machine.run("systemctl", "show", properties, "*.service", "*.socket").stdout
    # Other units start by themselves, such as a timer's service.
    ours = re.compile(r"^Id=(hookd(?!-reconcile)|shop|blog|nginx|git-host)", re.MULTILINE)
    stable = [one for one in units.split("\n\n") if ours.search(one)]
    return "\n\n".join(stable) + machine.run("systemctl", "show-environment").stdout


def sudo(machine: Machine, line: str, user: str = "manager") -> Done:
    """Run a command with `sudo -n` in bash, which reads $'...'."""
    return machine.run("bash", "-c", f"sudo -n {line}", user=user, check=False, env={"TRAP": "set"})


def command(machine: Machine, argv: tuple[str, ...]) -> Done:
    """Run a listed command as the worker does, which reads the pipe of a phase and gives a build its commands."""
    app = argv[-1].partition("-")[0].removesuffix(".service")
    prepare = f"exec 9<>{PHASE_PIPES}/{app}; echo '[]' > {PHASE_PIPES}/{app}.plan"
    return machine.run("bash", "-c", f"{prepare}; sudo -n {shlex.join(argv)}", user="manager", check=False)


def is_refused(done: Done) -> bool:
    """Return True if sudo refused the command and nothing ran."""
    return (done.returncode, done.stdout) == (1, "") and re.fullmatch(NO, done.stderr.rstrip("\n")) is not None


def listed(machine: Machine) -> list[tuple[str, ...]]:
    """Return every command that this server's catalogue gives the worker."""
    return [argv for app in apps(machine) for argv in sudo_commands(app)]


@pytest.mark.threat(22)
@pytest.mark.promise(40)
def test_similar_commands_are_refused(server: Machine) -> None:
    assert len(REFUSED) > 30
    before, files = state(server), server.files()
    assert [line for line in REFUSED if not is_refused(sudo(server, line))] == []
    assert state(server) == before
    assert server.files().keys() == files.keys()
    assert not server.path("/pwned").exists()


@pytest.mark.threat(22)
@pytest.mark.promise(1, 40)
def test_sudo_lists_exactly_the_catalogue(server: Machine) -> None:
    services = {"shop-blue.service", "shop-green.service", "blog.service"}
    assert {argv[-1] for argv in listed(server)} == services | PHASES_OF_BOTH
    printed = server.run("sudo", "-n", "-l", user="manager").stdout
    rules = re.findall(r"^ +\((.*?)\) (?:(\w+): )?(.+)$", printed, re.MULTILINE)
    assert sorted(rules) == sorted(("root", "NOPASSWD", shlex.join(argv)) for argv in listed(server))


def test_each_listed_command_works(server: Machine) -> None:
    assert Shop(server).push("second colour")["status"] == "succeeded"
    services = {argv[-1] for argv in listed(server)} - PHASES_OF_BOTH
    before = {unit: invocation(server, unit) for unit in services}
    assert [argv for argv in listed(server) if command(server, argv).returncode] == []
    assert [unit for unit, old in before.items() if invocation(server, unit) == old] == []


def test_sudo_runs_the_listed_path(server: Machine) -> None:
    """Resolve the worker's own link, which could change between sudo's check and the run."""
    own = "/var/lib/hookd/systemctl"
    server.run("ln", "-s", "/usr/bin/systemctl", own, user="manager")
    for name in ("systemctl", "/bin/systemctl", own):
        assert sudo(server, f"{name} restart blog.service").returncode == 0
    journal = server.run("journalctl", "--no-pager", "--output=cat", "--lines=12", "_COMM=sudo").stdout
    assert re.findall("COMMAND=(.*)", journal)[-3:] == [ON] * 3


def test_joined_words_mean_nothing_to_systemctl(server: Machine) -> None:
    """Pass sudo, which compares joined words, and fail in systemctl, which gets them unchanged."""
    before = invocation(server, "blog.service")
    done = sudo(server, "/usr/bin/systemctl 'restart blog.service'")
    assert "Unknown command verb" in done.stderr
    assert invocation(server, "blog.service") == before


def invocation(machine: Machine, unit: str) -> str:
    """Return the id of a unit's last start."""
    return machine.run("systemctl", "show", "--property=InvocationID", "--value", unit).stdout.strip()


@pytest.mark.promise(39)
@pytest.mark.parametrize("user", ["hookd", "www-data", "hookd-redis"])
def test_other_users_have_no_sudo(server: Machine, user: str) -> None:
    lines = [shlex.join(argv) for argv in listed(server)]
    assert [line for line in (*lines, "/bin/true") if not is_refused(sudo(server, line, user))] == []
    assert "may run" not in sudo(server, "-l", user).stdout
    # Without sudo, polkit decides, and refuses all of them.
    before = state(server)
    assert server.run("systemctl", "--no-ask-password", "restart", "blog.service", user=user, check=False).returncode
    assert state(server) == before
