"""The start of a host: services start without Redis, also after a killed deployment."""

import fcntl
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hookd.model.deployment import Status, Trigger
from hookd.model.ids import new_deployment_id
from hookd.model.journal import Built, Good, Switched
from hookd.model.units.systemctl import SUDO, sudo_commands
from tests.support.installation import Installation, app_files
from tests.support.processes import python, wait_for
from tests.support.visitors import visitors
from worker.boot import main
from worker.journal import Journal
from worker.process.lock import app_lock, lock_holder
from worker.process.subreaper import stat_fields

APPS: dict[str, dict[str, Any]] = {
    **{name: {"handover": "blue-green"} for name in ("plain", "killed", "first")},
    **{"single": {"handover": "restart"}},
}
# Well when it asks itself at its start, never ready when hookd asks over the network.
NEVER_READY = """
def app(environ, start_response):
    ready = environ["PATH_INFO"] != "/healthz" or environ["SERVER_SOFTWARE"] == "hookd-health"
    start_response("200 OK" if ready else "503 Not yet", [("Content-Type", "text/plain")])
    return [b"unverified"]
"""


def boot(site: Installation, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Do what the app's unit does when the host starts: Redis is not there yet, and no secret may be read."""
    config = site.directory / "boot.toml"
    config.write_text(site.config_path.read_text().replace(site.redis_url, "unix:///nowhere/redis.sock"))
    done = subprocess.run(
        python("-P", "-m", "worker.boot", *arguments),
        env={**site.environment, "HOOKD_CONFIG": str(config)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def services(app: str) -> list[str]:
    return [app] if APPS[app]["handover"] == "restart" else [f"{app}-blue", f"{app}-green"]


def ship_first(site: Installation) -> str:
    """Deploy the app unless something serves, and return what serves."""
    if not (site.root("plain") / "current").exists():
        site.ship("plain", app_files("first"))
    return site.serving("plain")


def end_of_host(site: Installation, app: str) -> None:
    """Stop every service of an app, as the end of a host does."""
    for service in services(app):
        site.circus("stop", service)


def answers(site: Installation, app: str) -> set[str]:
    """Return the answers to many visitors at once."""
    with visitors(site.ports[app], 4) as crowd:
        crowd.wait_for_more(40)
    assert crowd.failures == []
    return crowd.pages


def kill_while_it_is_checked(site: Installation, app: str) -> None:
    """Deploy a release that is never ready, and kill the deployment and its worker while they wait for that."""
    site.repositories[app].commit_and_push({**app_files("unverified"), "wsgi.py": NEVER_READY})
    deployment: str = site.send_push(app)["deployment"]
    site.wait_for_step(deployment, "health")
    deployer = site.deployer(app)
    keeper = int(stat_fields(deployer)[1])
    os.kill(int(stat_fields(keeper)[1]), signal.SIGKILL)
    wait_for(lambda: lock_holder(lock_of(site, app)) is None, what="the end of all of them")


def go_on(site: Installation, app: str) -> None:
    """Start another worker, which finds a sound head."""
    site.repositories[app].commit_and_push(app_files("sound"))
    site.start_worker(f"after-{app}")
    wait_for(lambda: site.records.history(app, 1)[0].trigger is Trigger.RECONCILE, what="what settles it")
    assert site.wait_for_ending(site.records.history(app, 1)[0].id).status is Status.SUCCEEDED


def lock_of(site: Installation, app: str) -> Path:
    return site.config.settings.lock_path(app)


def test_only_the_current_colour_starts(site: Installation) -> None:
    site.ship("plain", app_files("one"))
    site.ship("plain", app_files("two"))
    end_of_host(site, "plain")
    done = boot(site, "plain")
    assert done.returncode == 0, done.stderr
    assert "green serves 000002-" in done.stderr.splitlines()[-1]
    assert answers(site, "plain") == {"two"}
    assert site.circus("status", "plain-blue") == "stopped"


def test_running_service_is_left_alone(site: Installation) -> None:
    ship_first(site)
    serving = (site.root("plain") / "current").resolve()
    before = processes_in(serving)
    assert boot(site, "plain").returncode == 0
    assert before == processes_in(serving) != set()


def processes_in(directory: Path) -> set[int]:
    """Return every process that was started in a directory."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").resolve() == directory:
                found.add(int(process.name))
    return found


def test_app_without_deployment_is_no_failure(site: Installation) -> None:
    done = boot(site, "first")
    assert (done.returncode, done.stderr) == (
        0,
        "INFO hookd.boot nothing is deployed yet; next: hookd deploy first app=first\n",
    )


@pytest.mark.threat(51)
def test_interrupted_deployment_is_recovered_first(site: Installation) -> None:
    good = site.ship("killed", app_files("good"))
    kill_while_it_is_checked(site, "killed")
    end_of_host(site, "killed")
    done = boot(site, "killed")
    assert done.returncode == 0, done.stderr
    assert "an earlier deployment was interrupted while green was running" in done.stderr
    leads = {(site.root("killed") / name).resolve().name for name in ("blue", "green", "current")}
    assert leads == {good.release}
    assert answers(site, "killed") == {"good"}
    go_on(site, "killed")


def test_single_service_starts_the_good_release(site: Installation) -> None:
    good = site.ship("single", app_files("good"))
    kill_while_it_is_checked(site, "single")
    end_of_host(site, "single")
    done = boot(site, "single")
    assert done.returncode == 0, done.stderr
    assert site.current("single").name == good.release
    assert answers(site, "single") == {"good"}
    assert re.search(r" done after [0-9.]+ s app=single step=start\n\Z", done.stderr)
    go_on(site, "single")


def test_running_deployment_is_not_awaited(site: Installation) -> None:
    """It may take half an hour and then fail, and would start nothing that served before."""
    serving = ship_first(site)
    end_of_host(site, "plain")
    with app_lock(lock_of(site, "plain"), "plain-20260304T050607000-0a1b2c", 5):
        done = boot(site, "plain")
    assert done.returncode == 0, done.stderr
    assert "a deployment is under way" in done.stderr
    assert answers(site, "plain") == {serving}
    assert site.ship("plain", app_files("at last")).status is Status.SUCCEEDED
    assert answers(site, "plain") == {"at last"}


def test_boot_holds_the_app_lock(site: Installation) -> None:
    serving = ship_first(site)
    end_of_host(site, "plain")
    [manager] = (site.directory / "state" / "locks").glob("_circus-*.lock")
    with manager.open() as busy, ThreadPoolExecutor(1) as pool:
        fcntl.flock(busy, fcntl.LOCK_EX)  # Every start of a service waits.
        started = pool.submit(boot, site, "plain")
        wait_for(lambda: lock_holder(lock_of(site, "plain")) == "boot", what="the lock of the app")
        fcntl.flock(busy, fcntl.LOCK_UN)
        assert started.result().returncode == 0
    assert lock_holder(lock_of(site, "plain")) is None
    assert answers(site, "plain") == {serving}


def test_missing_service_has_a_hint(site: Installation) -> None:
    ship_first(site)
    site.change_app("plain", service={"name": "no-such-watcher"})
    done = boot(site, "plain")
    site.change_app("plain", service={"name": "plain"})
    assert done.returncode == 1
    assert "circus knows no service no-such-watcher-blue" in done.stderr
    assert " next: circusctl" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_wrong_call_ends_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_unknown_app_ends_with_2(site: Installation) -> None:
    done = boot(site, "nope")
    assert (done.returncode, "no app 'nope'" in done.stderr) == (2, True)


@pytest.mark.threat(74)
def test_broken_file_of_another_app(site: Installation) -> None:
    file = site.directory / "apps" / "single.toml"
    right = file.read_text()
    file.write_text("[broken")
    both = boot(site, "first"), boot(site, "single")
    file.write_text(right)
    assert [done.returncode for done in both] == [0, 2]


def test_systemd_command_is_allowed_by_sudo(tmp_path: Path) -> None:
    """There is no such unit, so that the command fails. It is the one that sudo lets through."""
    with Installation(tmp_path) as installation:
        table = {"manager": "systemd", "name": "hookd-no-such-unit"}
        installation.add_app("shop", service=table)
        text = (tmp_path / "apps" / "shop.toml").read_text()
        lines = [line for line in text.splitlines() if not line.startswith('"endpoint"')]
        (tmp_path / "apps" / "shop.toml").write_text("\n".join(lines))
        installation.redis_url = "unix:///nowhere"
        config = installation.config
        app = config.catalogue.apps[0]
        stamp: dict[str, Any] = {"at": datetime.now(UTC), "deployment": new_deployment_id("shop", datetime.now(UTC))}
        release = f"000001-{'1' * 12}"
        Journal(config.settings.journal_path("shop")).add(
            Built(**stamp, release=release, commit="1" * 40),
            Switched(**stamp, release=release, colour="green"),
            Good(**stamp, release=release),
        )
        done = boot(installation, "shop")
        assert done.returncode == 1
        allowed = {" ".join((SUDO, "-n", *argv)) for argv in sudo_commands(app)}
        run = [line.partition("$ ")[2].partition(" app=")[0] for line in done.stderr.splitlines() if "$ " in line]
        assert run == [f"{SUDO} -n /usr/bin/systemctl start hookd-no-such-unit-green.service"]
        assert set(run) <= allowed
