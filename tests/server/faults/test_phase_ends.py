"""Each end of a phase ends its whole unit: a limit, no memory, too many processes, a killed worker."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.server.machine import Machine
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer

# Starts a daemon, and waits or does harm beside it.
_DAEMON: Final = "import os, subprocess, sys, time; subprocess.Popen(['sleep', '4321'], start_new_session=True)"
_WAIT: Final = f"{_DAEMON}; open('left', 'w').close(); print('at', 'work', flush=True); time.sleep(600)"
_RELEASE: Final = f"{_DAEMON}; time.sleep(600)"
_EAT: Final = f"{_DAEMON}; held = [bytearray(os.urandom(1 << 20)) for _ in range(4000)]"
# As manager, with the variables of rq.
_RQ: Final = ". /var/lib/hookd/rq.env; exec python -P -c"
_STOP: Final = """
import os, sys
from redis import Redis
from rq.command import send_stop_job_command
send_stop_job_command(Redis.from_url(os.environ["RQ_REDIS_URL"]), sys.argv[1], serializer="json")
"""
_FORK: Final = "sleep 4321 & while :; do sleep 600 & done"


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with a deployed app."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: shop.page() == "v1", what="the shop")
        yield shop


def edit(shop: Shop, **changes: Any) -> None:
    """Change keys of the app. `__` stands for the dot."""
    words = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
    shop.hookd("app", "edit", "shop", *(word for change in words for word in ("--set", change)))


def is_over(machine: Machine, unit: str = "shop-build.service") -> bool:
    """Return True if nothing of a phase runs."""
    left = machine.run("pgrep", "-f", "sleep 4321", check=False).stdout
    return machine.unit_state(unit) in ("inactive", "failed") and not left


def releases(machine: Machine) -> list[str]:
    """Return the owner and name of each release, hidden ones too."""
    return machine.run(
        "find", "/srv/shop/releases", "-mindepth", "1", "-maxdepth", "1", "-printf", "%u %f\n"
    ).stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("command", "limits", "word"),
    [
        (
            ["python", "-c", _WAIT],
            {"limits__step_seconds": 3},
            "python ran longer than 3 s and was stopped (limits.step",
        ),
        (["python", "-c", _WAIT], {"limits__silence_seconds": 3}, "nothing for 3 s and was stopped (limits.silence"),
        (
            ["python", "-c", _EAT],
            {"build__memory_max": "200M"},
            "ran out of memory (limit 200 MiB): raise build.memory_max",
        ),
        (["sh", "-c", _FORK], {}, "ended with status"),
    ],
    ids=["time", "silence", "memory", "processes"],
)
def test_limit_ends_the_whole_build(shop: Shop, command: list[str], limits: dict[str, Any], word: str) -> None:
    """The site serves on, and the next build finds a clean place."""
    controllers = shop.machine.read("/sys/fs/cgroup/cgroup.controllers").split()
    if "build__memory_max" in limits and "memory" not in controllers:
        pytest.skip("this kernel does not limit a server's memory")
    before = shop.page()
    edit(shop, build__commands=[command], **limits)
    bad = shop.push(f"bad {word}")
    assert bad["status"] == "failed"
    assert word in bad["cause"]
    assert is_over(shop.machine)
    assert shop.page() == before
    edit(shop, build__commands=[], limits__step_seconds=600, limits__silence_seconds=120, build__memory_max="1G")
    assert not shop.status().get("quarantined")
    assert shop.push(f"good after {word}")["status"] == "succeeded"
    assert {line.split()[0] for line in releases(shop.machine)} == {"manager"}


def test_limit_ends_release_commands(shop: Shop) -> None:
    """Silence is no fault there. The commit is quarantined, and the site serves on."""
    before = shop.page()
    edit(shop, release__commands=[["true"], ["python", "-c", _RELEASE]], release__seconds=5, limits__silence_seconds=2)
    bad = shop.push("slow migration")
    assert bad["status"] == "failed"
    for words in ("python ran longer than 5 s", "(release.seconds)", "after `true`:", "half migrated"):
        assert words in bad["cause"], bad["cause"]
    assert is_over(shop.machine, "shop-release.service")
    assert (shop.page(), len(shop.status()["quarantined"])) == (before, 1)
    edit(shop, release__commands=[], limits__silence_seconds=120)


@pytest.mark.threat(13, 47)
@pytest.mark.parametrize("victim", ["deploying process", "all workers"])
def test_killed_worker_ends_its_build(shop: Shop, victim: str) -> None:
    """The build ends, its files are taken over, and the next deployment is live."""
    machine = shop.machine
    running = waiting_build(shop, f"killed {victim}")
    if victim == "all workers":
        machine.run("systemctl", "kill", "--signal=KILL", "hookd-worker@1.service", "hookd-worker@2.service")
    else:
        holder = machine.read("/var/lib/hookd/locks/shop.lock").partition("(process ")[2].rstrip(")\n")
        machine.run("kill", "-KILL", holder)
    machine.wait_until(lambda: is_over(machine), 60, "the end of the build")
    assert shop.ending(running)["status"] == "failed"
    assert shop.push(f"after {victim}")["status"] in ("succeeded", "unchanged")
    machine.wait_until(lambda: shop.page() == f"after {victim}", 60, "the next release")
    assert {line.split()[0] for line in releases(machine)} == {"manager"}
    assert not [line for line in releases(machine) if ".partial" in line]


def test_person_stops_a_build(shop: Shop) -> None:
    machine = shop.machine
    running = waiting_build(shop, "stopped")
    machine.run("runuser", "-u", "manager", "--", "sh", "-c", f'{_RQ} "$0" "$1"', _STOP, running)
    record = shop.ending(running)
    assert record["status"] == "cancelled", record["cause"]
    machine.wait_until(lambda: is_over(machine), 60, "the end of the build")
    assert shop.push("after the stop")["status"] in ("succeeded", "unchanged")
    machine.wait_until(lambda: shop.page() == "after the stop", 60, "the next release")
    assert {line.split()[0] for line in releases(machine)} == {"manager"}


@pytest.mark.threat(89)
def test_unstarted_commands_veto_nothing(shop: Shop) -> None:
    """Release commands that could not start ran never, so the same commit goes live once their unit is there."""
    machine, unit = shop.machine, "/etc/systemd/system/shop-release.service"
    edit(shop, release__commands=[["true"]])
    machine.shell(f"mv {unit} /root/; systemctl daemon-reload")
    commit = shop.commit("without its unit")
    failed = shop.ending(shop.deliver(commit))
    assert (failed["status"], failed["hint"]["kind"]) == ("failed", "set_up")
    machine.shell(f"mv /root/shop-release.service {unit}; systemctl daemon-reload")
    assert shop.ship(commit)["status"] == "succeeded"
    assert shop.page() == "without its unit"
    edit(shop, release__commands=[])


def waiting_build(shop: Shop, version: str) -> str:
    """Start a deployment whose build waits, and return it. The next build has no commands."""
    edit(shop, build__commands=[["python", "-c", _WAIT]])
    running = shop.deliver(shop.commit(version))
    shop.machine.wait_until(lambda: "at work" in log_of(shop, running), what="the build")
    edit(shop, build__commands=[])
    return running


def log_of(shop: Shop, deployment: str) -> str:
    """Return the log of a deployment so far."""
    path = shop.machine.path(f"/var/log/hookd/shop/{deployment}.log")
    return path.read_text() if path.exists() else ""


def test_power_cut_during_a_build(shop: Shop) -> None:
    machine = shop.machine
    waiting_build(shop, "cut")
    machine.power_cut()
    machine.wait_until(lambda: shop.page() not in ("502", "503"), 60, "the site")
    assert shop.push("after the cut")["status"] in ("succeeded", "unchanged", "superseded")
    machine.wait_until(lambda: shop.page() == "after the cut", 90, "the next release")
    assert {line.split()[0] for line in releases(machine)} == {"manager"}
