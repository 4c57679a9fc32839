"""`hookd doctor` on a real server: well after setup, and each fault is reported with its repair."""

import re
import time
from collections.abc import Iterator
from typing import Final

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.server.doctor.doctor_faults import FAULTS, ROUNDS, WORKERS, Fault, redis
from tests.support.server.places import KERNEL_LINKS, locked
from tests.support.server.servers import Servers
from tests.support.server.shop import BROKEN, Shop, shop_layer
from tests.support.server.well import Problem, doctor, is_kernels, problems

SILENCES: Final = {"down": ("stop", "start"), "hung": ("kill --signal=STOP", "kill --signal=CONT")}


@pytest.fixture(scope="module")
def shop(servers: Servers) -> Iterator[Shop]:
    """A server with an app deployed by hand."""
    with servers.start(shop_layer(servers)) as machine:
        shop = Shop(machine)
        machine.wait_until(lambda: settled(shop), what="the start of all services")
        yield shop


def settled(shop: Shop) -> bool:
    """Return True if all services run after a start or a repair."""
    units = (*WORKERS, "hookd.service", "shop.service")
    printed = shop.machine.run("systemctl", "show", "--property=ActiveState", "--value", *units).stdout
    if printed.split() != ["active"] * len(units):
        return False
    if shop.machine.unit_state("hookd-reconcile.service") == "failed":
        shop.machine.run("systemctl", "start", "hookd-reconcile.service", check=False)  # As the timer would.
        return False
    return all(is_registered(shop, number) for number in (1, 2))


def is_registered(shop: Shop, number: int) -> bool:
    """Return True if a worker is registered in Redis and has no time of death."""
    path, password = shop.machine.path("/run/hookd-redis/redis.sock"), shop.machine.read("/etc/hookd/redis/operator")
    key = f"rq:worker:hookd-{number}"
    with Redis(unix_socket_path=str(path), username="hookd-operator", password=password.strip()) as connection:
        try:
            return bool(connection.exists(key)) and not connection.hexists(key, "death")
        except RedisError:
            return False


def place(problem: Problem) -> str:
    """Return the check of a problem, with its app."""
    return f"{problem['check']} {problem['app'] or ''}".strip()


# --- a server that is well


def test_first_push_is_missing(shop: Shop) -> None:
    (found,) = problems(shop.machine)
    assert (place(found), found["level"]) == ("deployments shop", "warning")
    assert "http://deploy.example.org/hooks/shop" in found["message"]


def test_all_is_well_after_a_push(shop: Shop) -> None:
    assert shop.push("pushed")["status"] == "succeeded"
    assert problems(shop.machine) == []
    checks = {one["check"] for one in doctor(shop.machine)["findings"] if one["app"] == "shop"}
    assert checks == {
        "services",
        "answers",
        "git",
        "deployments",
        "journal",
        "setup",
        "permissions",
        "files",
        "sudo",
        "space",
        "variables",
        "separation",
        "processes",
        "certificates",
        "written",
    }


def test_kernel_problems_are_reported(shop: Shop) -> None:
    """Their number depends on the machine of the tests."""
    synchronised = shop.machine.run("timedatectl", "show", "-p", "NTPSynchronized", "--value").stdout.strip() == "yes"
    links = ("protected_hardlinks", "protected_symlinks")
    with locked(KERNEL_LINKS):
        messages = {one["message"].split(":")[0] for one in doctor(shop.machine)["findings"] if is_kernels(one)}
        off = {f"fs.{name} is off" for name in links if shop.machine.read(f"/proc/sys/fs/{name}").strip() == "0"}
    limited = {"memory", "pids"} <= set(shop.machine.read("/sys/fs/cgroup/cgroup.controllers").split())
    unlimited = set() if limited else {"the kernel does not limit apps"}
    assert messages == off | unlimited | (set() if synchronised else {"the clock is not set by the network"})


def test_doctor_changes_nothing(shop: Shop) -> None:
    idle = "green" if shop.machine.unit_state("shop-blue.service") == "active" else "blue"
    units = (*WORKERS, "hookd.service", "hookd.socket", "shop.socket", f"shop-{idle}.service", "hookd-redis.service")

    def server_state() -> tuple[object, ...]:
        states = shop.machine.run(
            "systemctl", "show", "--property=Id,ActiveState,InvocationID,NRestarts", *units
        ).stdout
        keys = shop.machine.shell(redis("operator", "KEYS", "'hookd:*'"))
        return shop.machine.files(), states, sorted(keys.strip("[]\n").split(", "))

    before = server_state()
    doctor(shop.machine)
    assert server_state() == before


@pytest.mark.promise(37)
def test_timer_run_is_in_the_journal(shop: Shop) -> None:
    shop.machine.shell("systemctl start hookd-doctor.service")
    assert shop.machine.unit_state("hookd-doctor.service") == "inactive"
    assert re.search(r"hookd: \S+: .*\d+ ok", shop.machine.journal("hookd-doctor.service"))


def test_other_users_get_unknown(shop: Shop) -> None:
    found = problems(shop.machine, user="www-data")
    assert {one["level"] for one in found} == {"unknown"}
    assert {one["hint"] for one in found} == {"sudo hookd doctor"}
    assert {"sudo", "files", "redis", "setup"} <= {one["check"] for one in found}


# --- faults, in rounds


@pytest.mark.promise(37)
@pytest.mark.parametrize("name", ROUNDS)
def test_faults_are_reported_and_repaired(shop: Shop, name: str) -> None:
    """Report the faults of a round and repair them. The next test proves the repair: it accepts no other fault."""
    faults = {one: FAULTS[one] for one in ROUNDS[name]}
    for fault in faults.values():
        shop.machine.shell(fault.plant)
    found = problems(shop.machine)
    named = {one: [problem for problem in found if is_about(problem, fault)] for one, fault in faults.items()}
    hints = [named[one][0]["hint"] for one, fault in faults.items() if named[one] and not fault.repair]
    # The set-up last, because other faults could stop it.
    for command in (*(fault.repair for fault in faults.values() if fault.repair), *sorted(set(hints), key=is_set_up)):
        shop.machine.shell(command)
    shop.machine.wait_until(lambda: settled(shop), what="the server's recovery")
    for one, fault in faults.items():
        assert [(problem["level"], bool(problem["hint"])) for problem in named[one][:1]] == [(fault.level, True)], (
            one,
            found,
        )
    assert {place(one) for one in found} <= set().union(*(fault.places for fault in faults.values())), found


def is_about(problem: Problem, fault: Fault) -> bool:
    """Return True if a problem reports the fault."""
    return fault.message in problem["message"] and place(problem) == fault.place


def is_set_up(command: str) -> bool:
    """Return True if a repair is the whole set-up."""
    return command.startswith("sudo hookd setup")


def test_refused_deploy_key_is_reported(shop: Shop) -> None:
    shop.host.allow_nothing()
    found = problems(shop.machine)
    shop.host.allow_reading(shop.machine.read("/var/lib/hookd/keys/shop.pub"), "acme/shop")
    (problem,) = found
    assert (place(problem), problem["level"]) == ("git shop", "error")
    assert "Permission denied" in problem["message"]
    assert problem["hint"] == "sudo hookd app show shop"


def test_unknown_host_key_is_reported(shop: Shop) -> None:
    known = shop.machine.read("/etc/hookd/known_hosts")
    shop.machine.write("/etc/hookd/known_hosts", "# none\n")
    found = problems(shop.machine)
    shop.machine.write("/etc/hookd/known_hosts", known)
    (problem,) = found
    assert (place(problem), problem["level"]) == ("git shop", "error")
    assert "Host key verification failed" in problem["message"]
    assert "/etc/hookd/known_hosts" in problem["hint"]


@pytest.mark.parametrize("silence", SILENCES)
def test_silent_git_host_times_out(shop: Shop, silence: str) -> None:
    """Limit the wait for a git host that does not answer."""
    silence_command, end_command = SILENCES[silence]
    shop.machine.shell(f"systemctl {silence_command} git-host.service")
    start = time.monotonic()
    found = problems(shop.machine)
    seconds = time.monotonic() - start
    shop.machine.shell(f"systemctl {end_command} git-host.service")
    (problem,) = found
    assert (place(problem), problem["level"]) == ("git shop", "error")
    assert seconds < 60


@pytest.mark.threat(38)
def test_lost_push_is_reported(shop: Shop) -> None:
    old = shop.push("old")["commit"]
    new = shop.commit("new")
    (found,) = problems(shop.machine)
    assert (place(found), found["level"]) == ("git shop", "warning")
    assert old[:12] in found["message"] and new[:12] in found["message"]
    shop.machine.shell(found["hint"])
    assert problems(shop.machine) == []


def test_rollback_is_reported(shop: Shop) -> None:
    bad = shop.push("bad", {"wsgi.py": BROKEN["answers 500"]})
    found = problems(shop.machine)
    assert {place(one) for one in found} == {"git shop", "deployments shop"}, found
    messages = " ".join(one["message"] for one in found)
    assert f"{bad['commit'][:12]} has been quarantined since" in messages
    assert f"the last deployment ended {bad['status']}" in messages


def test_server_is_well_at_the_end(shop: Shop) -> None:
    assert shop.push("good")["status"] == "succeeded"
    assert problems(shop.machine) == []
