"""Workers, a scheduler and a timer beside the web process, over deployments, failures and a reboot."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.server.conftest import Figures
from tests.support.server.queue_app import COMMANDS, enqueue, queue_files, redis, start_redis
from tests.support.server.servers import Servers
from tests.support.server.shop import Shop, shop_layer
from tests.support.server.unchanged import refusals, unchanged
from tests.support.server.visitors import visitors

PUSHES: Final = 10
_JOB_SECONDS: Final = 5


@pytest.fixture(scope="module", params=["blue-green", "restart"])
def shop(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A server whose app has two workers, a scheduler and a timer, for each handover."""
    with servers.start(shop_layer(servers, request.param)) as machine:
        start_redis(machine)
        shop = Shop(machine)
        push(shop, "with a queue")
        set_keys(shop, *COMMANDS)
        shop.hookd("deploy", "shop")
        yield shop


def set_keys(shop: Shop, *changes: str) -> None:
    shop.hookd("app", "edit", "shop", *(word for change in changes for word in ("--set", change)))


def push(shop: Shop, version: str, **files: str) -> str:
    """Push a commit and return its ending."""
    return str(ship(shop, version, **files)["status"])


def ship(shop: Shop, version: str, **files: str) -> dict[str, Any]:
    """Push a commit and return the record of the deployment that took it."""
    over = {f"{name}.py": text for name, text in files.items()}
    return shop.ship(shop.repository.commit_and_push(queue_files(version, over), version))


def release(shop: Shop) -> str:
    return str(shop.status()["release"])


def running(shop: Shop) -> dict[str, str]:
    """Return the processes that run, each with the release that it works in."""
    script = """for unit in $(systemctl list-units --plain --no-legend --state=active 'shop-*@*' | cut -d' ' -f1); do
        pid=$(systemctl show --property=MainPID --value "$unit")
        echo "$unit $(basename "$(readlink /proc/$pid/cwd)") $(ps -o user= -p $pid)"
    done"""
    lines = (line.split() for line in shop.machine.shell(script).splitlines())
    return {unit.replace("-blue", "").replace("-green", ""): f"{name} {user}" for unit, name, user in lines}


def all_in(name: str) -> dict[str, str]:
    units = ("shop-worker@1.service", "shop-worker@2.service", "shop-beat@1.service")
    return dict.fromkeys(units, f"{name} www-data")


def test_processes_follow_each_release(shop: Shop, figures: Figures) -> None:
    """No job is lost, none is run by a release that is gone, and no request fails."""
    total = 2 * PUSHES
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        for number in range(PUSHES):
            for job in (2 * number, 2 * number + 1):
                enqueue(shop.machine, job, _JOB_SECONDS if number else 1)
            assert push(shop, f"v{number}") == "succeeded"
            assert running(shop) == all_in(release(shop))
    assert not crowd.failures, crowd.failures[:5]
    shop.machine.wait_until(lambda: redis(shop.machine, "HLEN", "ended") == str(total), 120, "the jobs")
    for line in redis(shop.machine, "HVALS", "ended").splitlines():
        began, here, exists = line.split()
        assert (began, exists) == (here, "True"), line
    assert redis(shop.machine, "GET", "overlapped") == ""
    figures.note(f"processes: {PUSHES} pushes with {total} jobs of 5 s, slowest request {crowd.slowest:.2f} s")


def test_timer_runs_in_the_serving_release(shop: Shop) -> None:
    assert push(shop, "on time") == "succeeded"
    redis(shop.machine, "DEL", "cleaned")
    shop.machine.wait_until(lambda: redis(shop.machine, "LLEN", "cleaned") != "0", what="the timer")
    assert redis(shop.machine, "LINDEX", "cleaned", "0").split()[0] == release(shop)
    assert "shop-clean.timer" in shop.hookd("status", "shop")


def test_failed_timer_is_told(shop: Shop) -> None:
    failing = 'timers.clean.command=["python","-c","print(6 * 7); raise SystemExit(3)"]'
    set_keys(shop, 'timers.clean.schedule="yearly"')
    shop.machine.wait_until(lambda: shop.machine.unit_state("shop-clean.service") == "inactive", what="the last run")
    set_keys(shop, failing)
    done = shop.machine.run("hookd", "run", "shop", "--timer", "clean", check=False)
    assert (done.returncode, "42" in done.stdout) == (3, True)
    assert "the timer clean failed" in shop.machine.run("hookd", "doctor", "shop", check=False).stdout
    assert "42" in shop.hookd("logs", "shop", "--process", "clean")
    set_keys(shop, 'timers.clean.command=["python","clean.py"]')
    shop.hookd("run", "shop", "--timer", "clean")
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


@pytest.mark.parametrize("shop", ["blue-green"], indirect=True)
def test_overlapping_worker_starts_first(shop: Shop) -> None:
    """The old worker ends its job while the new one works already."""
    set_keys(shop, "processes.worker.overlap=true", "processes.worker.stop_seconds=90")
    assert push(shop, "overlapping") == "succeeded"
    before = redis(shop.machine, "LLEN", "workers")
    redis(shop.machine, "SET", "hold", "1")
    enqueue(shop.machine, 900, 0)
    shop.machine.wait_until(lambda: redis(shop.machine, "HGET", "began", "900"), what="the job")
    delivered = shop.deliver(shop.repository.commit_and_push(queue_files("side by side"), "side by side"))
    shop.machine.wait_until(lambda: redis(shop.machine, "LLEN", "workers") != before, what="the new workers")
    assert redis(shop.machine, "HGET", "ended", "900") == ""
    redis(shop.machine, "DEL", "hold")
    assert shop.ending(delivered)["status"] == "succeeded"
    assert redis(shop.machine, "HGET", "ended", "900") != ""
    assert running(shop) == all_in(release(shop))


@pytest.mark.parametrize("fault", ["raise SystemExit(1)\n", "import time\ntime.sleep(0.4)\n"])
def test_failing_process_takes_the_release_back(shop: Shop, fault: str) -> None:
    before, page = release(shop), shop.page()
    with visitors(shop.machine, shop.domain, per_second=50) as crowd:
        assert push(shop, "bad worker", work=fault) == "rolled_back"
    assert not crowd.failures, crowd.failures[:5]
    assert (release(shop), shop.page()) == (before, page)
    assert running(shop) == all_in(before)
    last = shop.status()["deployments"][0]
    assert "shop-worker" in last["cause"] and "shop-worker" in last["hint"]["argument"]
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert push(shop, "good again") == "succeeded"


def test_crashed_process_is_mended_then_told(shop: Shop) -> None:
    """Three repairs in a day are enough for one that ends again."""
    assert push(shop, "stable") == "succeeded"
    unit = next(unit for unit in units_up(shop) if "beat" in unit)
    for _ in range(3):
        shop.machine.run("systemctl", "stop", unit)
        shop.hookd("update", "shop")  # It ends the backoff.
        shop.reconcile()
        shop.machine.wait_until(lambda: shop.machine.unit_state(unit) == "active", 60, "the repair")
        shop.ending(shop.status()["deployments"][0]["id"])
    shop.machine.run("systemctl", "stop", unit)
    shop.hookd("update", "shop")
    shop.reconcile()
    told = shop.hookd("why", "shop", "-n", "1")
    assert "a person must look" in told and unit.removesuffix(".service") in told
    assert shop.machine.unit_state(unit) == "inactive"
    shop.hookd("restart", "shop", "beat")
    assert shop.machine.unit_state(unit) == "active"


def units_up(shop: Shop) -> list[str]:
    printed = shop.machine.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "shop-*@*")
    return [line.split()[0] for line in printed.stdout.splitlines()]


def test_stubborn_process_is_killed(shop: Shop) -> None:
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(3600)\n"
    set_keys(shop, "processes.beat.stop_seconds=1")
    assert push(shop, "stubborn", beat=stubborn) == "succeeded"
    polite = ship(shop, "polite")
    assert polite["status"] == "succeeded"
    log = shop.hookd("logs", polite["id"])
    assert "did not end in its stop_seconds and was killed" in log
    assert running(shop) == all_in(release(shop))
    assert shop.machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_reboot_brings_all_back(shop: Shop) -> None:
    """The reconciler is off, because it would start them later."""
    off = "/etc/systemd/system/hookd-reconcile.service.d/off.conf"
    shop.machine.write(off, "[Unit]\nConditionPathExists=/nowhere\n")
    shop.machine.reboot()
    shop.machine.wait_until(lambda: running(shop) == all_in(release(shop)), 60, "the processes")
    assert shop.machine.unit_state("shop-clean.timer") == "active"
    shop.machine.run("rm", off)
    shop.machine.run("systemctl", "daemon-reload")


def test_stop_and_start(shop: Shop) -> None:
    shop.hookd("stop", "shop")
    assert units_up(shop) == []
    assert shop.machine.unit_state("shop-clean.timer") == "inactive"
    shop.hookd("start", "shop")
    shop.machine.wait_until(lambda: running(shop) == all_in(release(shop)), 60, "the processes")
    assert shop.machine.unit_state("shop-clean.timer") == "active"


def test_bad_input_changes_nothing(shop: Shop) -> None:
    shop.machine.write("/etc/systemd/system/shop-mail.service", "[Service]\nExecStart=/bin/true\n")
    shop.machine.write("/etc/systemd/system/roots.service", "[Service]\nExecStart=/bin/true\n")
    edit = ("app", "edit", "shop", "--set")
    wrong = [
        "processes.worker.count=0",
        'timers.mail={command=["true"],schedule="hourly"}',
        'timers.blue={command=["true"],schedule="hourly"}',
        'timers.late={command=["true"],schedule="every friday"}',
        'timers.worker={command=["true"],schedule="hourly"}',
        'service.restart_also=["roots"]',
        'service.restart_also=["nowhere"]',
    ]
    with unchanged(shop.machine):
        said = refusals(shop.machine, [(*edit, change) for change in wrong])
    assert all("hookd: " in text for text in said)
    assert push(shop, "no program") == "succeeded"
    set_keys(shop, 'processes.ghost={command=["ghost"]}')
    assert push(shop, "ghost") == "failed"
    assert "processes.ghost.command: there is no program ghost" in shop.status()["deployments"][0]["cause"]


def test_removal_leaves_nothing(shop: Shop) -> None:
    text = shop.machine.read("/etc/hookd/apps/shop.toml")
    shop.machine.write("/root/without.toml", text)
    shop.hookd("app", "remove", "shop", "--yes")
    assert units_up(shop) == []
    left = shop.machine.shell("find /etc/systemd/system /var/cache/hookd-apps /run/hookd-phases -name 'shop*'")
    assert set(left.splitlines()) <= {
        "/etc/systemd/system/shop-mail.service",
        "/etc/systemd/system/shop-redis.service",
        "/etc/systemd/system/multi-user.target.wants/shop-redis.service",
    }
