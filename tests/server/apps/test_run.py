"""`hookd run` on a server: a command with the rights of the app's service, at a terminal, in a pipe, and its end."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.rendered import directives
from tests.support.server.commands import Done
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer
from tests.support.server.terminal import terminal

# What a process of the app is and may do.
PROBE = """
import json, os, pathlib, shutil, sys

def reach(path):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
        return "open"
    except OSError as error:
        return error.strerror

def observe():
    status = dict(line.split(":\\t", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    places = ("/etc/hookd/env/shop", "/etc/hookd/env/shop.build", "/etc/hookd/secrets", "/srv/other", "/run/hookd",
              "/run/dbus", "/var/lib/hookd", "/root", "/home", "/dev/sda", "/etc/shadow", "/var/lib/shop/uploads")
    names = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapEff", "CapBnd", "CapAmb", "Umask")
    return {
        "status": [status[name] for name in names],
        "directory": os.getcwd(),
        "python": os.path.realpath(shutil.which("python")),
        "gunicorn": os.path.realpath(shutil.which("gunicorn")),
        "variables": {name: value for name, value in os.environ.items() if name.startswith("T_")},
        "places": {path: reach(path) for path in places},
        "writable": {path: os.access(path, os.W_OK) for path in (".", "/tmp", "/etc", "/var/lib/shop/uploads")},
        "others": [p for p in os.listdir("/proc") if p.isdigit() and os.stat(f"/proc/{p}").st_uid != os.getuid()],
    }

if __name__ == "__main__":
    print(json.dumps(observe()))
"""
WSGI = """
import json, probe

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"version" if environ["PATH_INFO"] == "/version" else json.dumps(probe.observe()).encode()]
"""
# The files that a process holds, by their devices.
FILES = """
import json, os
held = []
for name in os.listdir("/proc/self/fd"):
    try:
        found = os.stat(f"/proc/self/fd/{name}")
        held.append((found.st_dev, found.st_rdev))
    except OSError:
        pass
print(json.dumps({"held": held, "terminal": [os.isatty(number) for number in range(3)]}))
"""
# dash may lose a signal that comes while it starts a program, so these are Python's.
WAITS = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"
PATIENT = f"""
import sys, time
try:
    exec({WAITS!r})
except KeyboardInterrupt:
    time.sleep(1)
    print("caught")
    sys.exit(5)
"""
STUBBORN = "trap '' HUP INT TERM; echo ready; while :; do sleep 100; done"
COMMIT = {"wsgi.py": WSGI, "probe.py": PROBE, "files.py": FILES, "waits.py": WAITS, "patient.py": PATIENT}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server with an app that shows what it is, and a directory of another app. systemd-run differs by version."""
    with servers.start(shop_layer(servers, suite=request.param)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        machine.write("/etc/hookd/env/shop", 'T_PLAIN="two words"\n', 0o640, "root:manager")
        machine.run("install", "-d", "-o", "nobody", "-m", "0750", "/srv/other")
        shop.push("probe", COMMIT)
        yield shop


def typed(shop: Shop, *command: str, input: str | None = None, **env: str) -> Done:
    """Type a command without a terminal."""
    return shop.machine.run("hookd", "run", "shop", "--", *command, input=input, check=False, env=env)


def units(shop: Shop) -> list[str]:
    """Return the units of commands that are there."""
    return shop.machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "hookd-run-*").stdout.split()


def script(shop: Shop, text: str) -> str:
    """Run lines of a shell of root's that call hookd."""
    return shop.machine.shell(text)


@pytest.mark.threat(93)
def test_command_is_as_the_service(shop: Shop) -> None:
    """User, groups, capabilities, system calls, directory, programs, variables, and what it reaches."""
    command: dict[str, Any] = json.loads(typed(shop, "python", "probe.py").stdout)
    assert command == json.loads(shop.page())
    assert command["variables"] == {"T_PLAIN": "two words"}
    assert {path for path, answer in command["places"].items() if answer == "open"} == {"/var/lib/shop/uploads"}
    assert command["directory"].startswith("/srv/shop/releases/")


@pytest.mark.threat(93)
def test_sandbox_is_that_of_phases(shop: Shop) -> None:
    """As systemd reads both: the unit's file, and the properties of systemd-run."""
    names = directives(shop.machine.read("/etc/systemd/system/shop-check.service")).keys()
    differing = {
        "Description",
        "WorkingDirectory",
        "Environment",
        "Type",
        "ExecStart",
        "StandardInput",
        "StandardOutput",
    }
    with terminal(shop.machine, "hookd", "run", "shop", "--", "sh", "-c", "echo ready; exec sleep 600") as window:
        window.wait_for("ready")
        own, phase = (
            dict(line.partition("=")[::2] for line in shop.machine.run("systemctl", "show", name).stdout.splitlines())
            for name in (units(shop)[0], "shop-check.service")
        )
    compared = {name for name in names if name in own} - differing
    assert len(compared) >= 30
    assert {name: own[name] for name in compared} == {name: phase[name] for name in compared}
    assert own["EnvironmentFiles"] == phase["EnvironmentFiles"]
    shop.machine.wait_until(lambda: units(shop) == [], what="the end of the unit")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -INT $$", 130),
        ("kill -9 $$", 137),
    ],
)
def test_status_is_the_commands(command: str, status: int, shop: Shop) -> None:
    assert typed(shop, "sh", "-c", command).returncode == status
    assert units(shop) == []


def test_time_limit_ends_command(shop: Shop) -> None:
    done = shop.machine.run("hookd", "run", "--seconds", "1", "shop", "sleep", "600", check=False)
    assert (done.returncode, "sleep ran longer than 1 s" in done.stderr) == (124, True), done
    assert units(shop) == []


def test_arguments_stay_as_typed(shop: Shop) -> None:
    words = ("$HOME", "${PATH} $$", "%n", "%%", "a b", '"q"', "new\nline", "", "\\x41", "--pty", ";", "größe")
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert tuple(json.loads(typed(shop, "python", "-c", code, *words).stdout)) == words


def test_output_and_input_are_whole(shop: Shop) -> None:
    """10 MB each, in pipes and files, with errors apart."""
    text = """
head -c 10000000 /dev/urandom >/root/data
hookd run shop cat </root/data | cmp - /root/data
cat /root/data | hookd run shop cat >/root/copy && cmp /root/copy /root/data
hookd run shop -- sh -c 'echo out; echo error >&2' 2>/root/errors
cat /root/errors
hookd run shop yes | head -n 1
"""
    assert script(
        shop,
        text.replace("yes | head", "yes 2>&1 | head").replace("hookd run shop yes", "(hookd run shop yes || true)"),
    ).split() == [
        "out",
        "error",
        "y",
    ]
    assert units(shop) == []


@pytest.mark.threat(93)
@pytest.mark.parametrize("redirection", ["", "< /dev/null", "> /root/out; cat /root/out", "2> /root/out", "| cat"])
def test_command_holds_no_terminal(redirection: str, shop: Shop) -> None:
    """Of the person's own: it has a new one, or pipes."""
    with terminal(shop.machine, "sh", "-c", f"hookd run shop -- python files.py {redirection}") as window:
        assert window.end() == 0, window.shown
        answer = json.loads(window.shown[window.shown.index("{") :])
    assert list(window.device) not in answer["held"]
    is_new = redirection in ("", "2> /root/out")
    assert answer["terminal"] == [is_new] * 3


def test_terminal_passes_keys(shop: Shop) -> None:
    with terminal(
        shop.machine, "hookd", "run", "shop", "--", "sh", "-c", "echo ready; read name; echo hello $name $TERM; exit 7"
    ) as window:
        window.wait_for("ready")
        window.type("anna\n")
        window.wait_for("hello anna xterm")
        assert window.end() == 7
    assert "\x1b" not in window.shown


@pytest.mark.parametrize("redirection", ["", "< /dev/null"])
@pytest.mark.parametrize(("program", "status"), [("waits.py", 130), ("patient.py", 5)])
def test_ctrl_c_reaches_command(program: str, status: int, redirection: str, shop: Shop) -> None:
    """It may end in its own way, here with a status after a while."""
    with terminal(shop.machine, "sh", "-c", f"exec hookd run shop python {program} {redirection}") as window:
        window.wait_for("ready")
        window.type("\x03")
        assert window.end() == status, window.shown
    assert ("caught" in window.shown) == (program == "patient.py")
    assert units(shop) == []


@pytest.mark.threat(93)
@pytest.mark.parametrize("redirection", ["", "< /dev/null"])
def test_closed_window_leaves_nothing(redirection: str, shop: Shop) -> None:
    """Not even a command that ignores all signals of the window."""
    line = f'exec hookd run shop -- sh -c "{STUBBORN}" {redirection}'
    with terminal(shop.machine, "sh", "-c", line) as window:
        window.wait_for("ready")
        assert len(units(shop)) > 0
        window.close()
        shop.machine.wait_until(lambda: units(shop) == [], what="the end of the unit")
    shop.machine.wait_until(
        lambda: "sleep 100" not in shop.machine.run("ps", "-A", "-o", "args").stdout, what="the end of the processes"
    )


def test_killed_hookd_ends_command(shop: Shop) -> None:
    command = shop.machine.command("hookd", "run", "shop", "python", "waits.py")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        shop.machine.run("pkill", "-TERM", "--full", "hookd.cli run shop")
        assert process.wait(60) == 143
    assert units(shop) == []


def test_release_stays_the_same(shop: Shop) -> None:
    """A deployment meanwhile changes nothing for a command that runs."""
    loop = "echo ready; while read line; do pwd; command -v python; done"
    with terminal(shop.machine, "hookd", "run", "shop", "--", "sh", "-c", loop) as window:
        window.wait_for("ready")
        window.type("\n")
        window.wait_for("/srv/shop/releases/")
        before = window.shown.split("/srv/shop/releases/")[1].split()[0]
        assert shop.push("next", COMMIT)["release"] != before
        window.shown = ""
        window.type("\n")
        window.wait_for(f"/srv/shop/releases/{before}/venv/bin/python")
        window.type("\x04")
        assert window.end() == 0
    assert before not in typed(shop, "pwd").stdout


def test_refusals_have_one_sentence(shop: Shop) -> None:
    machine = shop.machine
    unknown = typed(shop, "flask", "shell")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 2), unknown
    assert "shop has no program flask" in unknown.stderr
    for user in ("www-data", "manager"):
        done = machine.run("hookd", "run", "shop", "id", user=user, check=False)
        assert (done.returncode, done.stdout, "only root" in done.stderr) == (2, "", True), done
    machine.write("/etc/hookd/env/shop", "T_PLAIN=x\nexport A=canary\n", 0o640, "root:manager")
    misread = typed(shop, "true")
    machine.write("/etc/hookd/env/shop", 'T_PLAIN="two words"\n', 0o640, "root:manager")
    assert "/etc/hookd/env/shop line 2: " in misread.stderr and "canary" not in misread.stderr
    blog = Shop(machine, "blog")
    blog.commit("v1")
    blog.allow_reading()
    blog.hookd("app", "add", "blog", "--repo", blog.repository.url, "--no-deploy")
    early = machine.run("hookd", "run", "blog", "id", check=False)
    assert (early.returncode, "blog has no release yet\n  next: sudo hookd deploy blog" in early.stderr) == (2, True), (
        early
    )
    assert units(shop) == []


def test_decision_names_program_alone(shop: Shop) -> None:
    """The arguments may hold a password, so they are in no log."""
    typed(shop, "echo", "canary-argument", SUDO_USER="anna")
    assert "anna ran echo" in shop.hookd("why", "shop")
    for text in (shop.hookd("why", "shop"), shop.machine.run("journalctl", "--no-pager").stdout):
        assert "canary-argument" not in text
